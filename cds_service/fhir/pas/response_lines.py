"""Lines of a ClaimResponse: one item for each line of the request, and what was authorized instead (P047-P056)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from cds_service.domain.prior_auth import CaseLine, Reason, ReviewAction
from cds_service.fhir.concepts import dicts
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, extensions, has_code
from cds_service.fhir.pas.request import PasRequest, RequestedLine

Refer = Callable[[Entry], dict[str, str]]
_ECHOED: Final = (  # what an authorized line repeats of the requested one
    "epsdtIndicator", "nursingHomeResidentialStatus", "nursingHomeLevelOfCare", "productOrServiceCodeEnd",
    "revenueUnitRateLimit", "serviceItemRequestType", "certificationType",
)  # fmt: skip
_NOT_CERTIFIED: Final = frozenset({ReviewAction.PENDED, ReviewAction.NOT_CERTIFIED})


class Notes:
    """Process notes, each text once, by number."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []

    def add(self, text: str) -> int:
        """The number of a note with this text."""
        for each in self.listed:
            if each["text"] == text:
                return int(each["number"])
        self.listed.append({"number": len(self.listed) + 1, "text": text})
        return len(self.listed)


def adjudication(action: ReviewAction, number: str, reasons: Sequence[Reason]) -> dict[str, Any]:
    """The decision itself, where PAS readers look for it (P048, P049)."""
    parts: list[dict[str, Any]] = [
        {
            "url": systems.extension("reviewActionCode"),
            "valueCodeableConcept": systems.concept(systems.REVIEW_ACTION, action.value),
        }
    ]
    if number:
        parts.insert(0, {"url": "number", "valueString": number})
    for reason in reasons if action in {ReviewAction.NOT_CERTIFIED, ReviewAction.MODIFIED} else ():
        concept: dict[str, Any] = {"text": reason.text}
        if reason.code:
            concept |= systems.concept(systems.DECISION_REASON, reason.code)
        parts.append({"url": "reasonCode", "valueCodeableConcept": concept})
    return {
        "extension": [{"url": systems.extension("reviewAction"), "extension": parts}],
        "category": systems.concept(systems.ADJUDICATION, "submitted"),
    }


def line_item(
    request: PasRequest, asked: RequestedLine | None, line: CaseLine, refer: Refer, notes: Notes
) -> dict[str, Any]:
    """One line. A cancelled one is answered too."""
    modern = request.version != "2.0.1"
    held = [{"url": systems.TRACE_NUMBER, "valueIdentifier": each} for each in (asked.trace if asked else ())]
    held += _dates(line)
    if asked is not None and asked.previous:
        held.append({"url": systems.AUTHORIZATION_NUMBER, "valueString": asked.previous})
    if line.reference and (line.action in _NOT_CERTIFIED or not line.number):
        held.append({"url": systems.REFERENCE_NUMBER, "valueString": line.reference})
    if asked is not None:
        held += _requested_date(asked)
    if line.authorized is not None and line.action is ReviewAction.APPROVED:
        held += _authorized(request, asked, line, refer)
    if modern:
        held += _stays(request) + _diagnoses(asked)
    item: dict[str, Any] = {"extension": held} if held else {}
    item["itemSequence"] = line.sequence
    said = [*(reason.text for reason in line.reasons), *_instead(line)]
    numbers = [notes.add(f"Line {line.sequence}: {text}") for text in said]
    if numbers:
        item["noteNumber"] = numbers
    number = line.number if line.action in {ReviewAction.APPROVED, ReviewAction.MODIFIED} else ""
    item["adjudication"] = [adjudication(line.action, number, line.reasons)]
    return item


def _instead(line: CaseLine) -> list[str]:
    """Of a change what it is, in words: PAS has no place for an amount per day, nor for how a dose comes down."""
    if line.authorized is None or line.action is not ReviewAction.MODIFIED:
        return []
    amounts = [
        f"{drug} up to {amount} mg per day" + (f" (asked for: {line.daily[drug]})" if drug in line.daily else "")
        for drug, amount in sorted(line.authorized.daily.items())
    ]
    told = [f"authorized: {', '.join(amounts)}"] if amounts else []
    return told + ([f"how the dose comes down: {line.authorized.taper}"] if line.authorized.taper else [])


def _dates(line: CaseLine) -> list[dict[str, Any]]:
    """P050: when it was issued, and for which days it holds."""
    if line.authorized is None or line.issued is None:
        return []
    span = {"start": line.authorized.start.isoformat(), "end": line.authorized.end.isoformat()}
    return [
        {"url": systems.extension("itemPreAuthIssueDate"), "valueDate": line.issued.isoformat()},
        {"url": systems.extension("itemPreAuthPeriod"), "valuePeriod": span},
    ]


def _requested_date(asked: RequestedLine) -> list[dict[str, Any]]:
    url = systems.extension("itemRequestedServiceDate")
    for element, kind, wanted in (("servicedDate", "valueDate", str), ("servicedPeriod", "valuePeriod", dict)):
        if type(asked.raw.get(element)) is wanted and asked.raw[element]:
            return [{"url": url, kind: asked.raw[element]}]
    return []


def _authorized(request: PasRequest, asked: RequestedLine | None, line: CaseLine, refer: Refer) -> list[dict[str, Any]]:
    """What was authorized, and to whom."""
    detail: list[dict[str, Any]] = []
    if asked is not None:
        detail.append({"url": "productOrServiceCode", "valueCodeableConcept": asked.raw.get("productOrService")})
        detail += [{"url": "modifier", "valueCodeableConcept": each} for each in dicts(asked.raw.get("modifier"))]
        if type(asked.raw.get("unitPrice")) is dict:
            detail.append({"url": "unitPrice", "valueMoney": asked.raw["unitPrice"]})
    if line.authorized is not None and line.authorized.quantity:
        quantity = {"value": msgspec.Raw(line.authorized.quantity.encode()), "unit": "billing unit"}
        detail.append({"url": "quantity", "valueQuantity": quantity})
    provider = [{"url": "provider", "valueReference": refer(request.provider)}]
    held = [{"url": systems.extension("itemAuthorizedProvider"), "extension": provider}]
    if detail:
        held.append({"url": systems.extension("itemAuthorizedDetail"), "extension": detail})
    return held


def _stays(request: PasRequest) -> list[dict[str, Any]]:
    """Admission and discharge as they were asked for."""
    found: list[dict[str, Any]] = []
    for info in dicts(request.bundle.claim.resource.get("supportingInfo")):
        for code, url in (("admissionDates", "admissionDates"), ("dischargeDates", "dischargeDate")):
            if not has_code(info.get("category"), systems.TEMP_CODES, code):
                continue
            if "timingDate" in info:
                found.append({"url": systems.extension(url), "valueDate": info["timingDate"]})
            elif "timingPeriod" in info and url == "admissionDates":
                found.append({"url": systems.extension(url), "valuePeriod": info["timingPeriod"]})
    return found


def _diagnoses(asked: RequestedLine | None) -> list[dict[str, Any]]:
    """P056: the diagnoses that the line was judged with."""
    url = systems.extension("communicatedDiagnosis")
    codes = asked.diagnoses if asked is not None else ()
    return [{"url": url, "valueCodeableConcept": systems.concept(systems.ICD10CM, code)} for code in codes]


def added_lines(
    request: PasRequest, items: Mapping[int, RequestedLine], lines: Sequence[CaseLine], refer: Refer
) -> list[dict[str, Any]]:
    """P053: of a modified line, what is authorized instead."""
    return [
        _added(request, items.get(line.sequence), line, refer)
        for line in lines
        if line.action is ReviewAction.MODIFIED and line.authorized is not None
    ]


def _added(request: PasRequest, asked: RequestedLine | None, line: CaseLine, refer: Refer) -> dict[str, Any]:
    raw = asked.raw if asked is not None else {}
    held = [{"url": systems.TRACE_NUMBER, "valueIdentifier": each} for each in (asked.trace if asked else ())]
    held += _dates(line)
    if asked is not None and asked.previous:
        held.append({"url": systems.AUTHORIZATION_NUMBER, "valueString": asked.previous})
    if line.reference:
        held.append({"url": systems.REFERENCE_NUMBER, "valueString": line.reference})
    held += [each for name in _ECHOED for each in extensions(raw, systems.extension(name))]
    if type(raw.get("revenue")) is dict:
        held.append({"url": systems.extension("revenueCode"), "valueCodeableConcept": raw["revenue"]})
    held += _order(request, raw, refer)
    if request.version != "2.0.1":
        if type(raw.get("category")) is dict:
            held.append({"url": systems.extension("itemCategory"), "valueCodeableConcept": raw["category"]})
        held += _stays(request)
    entry: dict[str, Any] = {"extension": held, "itemSequence": [line.sequence]}
    entry["provider"] = [_provider(request, refer)]
    entry["productOrService"] = raw.get("productOrService") or {"text": line.text}
    for element in ("modifier", "servicedDate", "locationCodeableConcept", "unitPrice"):
        if element in raw:
            entry[element] = raw[element]
    if "servicedDate" not in entry and line.authorized is not None:
        span = line.authorized
        entry["servicedPeriod"] = {"start": span.start.isoformat(), "end": span.end.isoformat()}
    if line.authorized is not None and line.authorized.quantity:
        entry["quantity"] = {"value": msgspec.Raw(line.authorized.quantity.encode()), "unit": "billing unit"}
    entry["adjudication"] = [adjudication(ReviewAction.APPROVED, line.number, ())]
    return entry


def _order(request: PasRequest, raw: Mapping[str, Any], refer: Refer) -> list[dict[str, Any]]:
    found = []
    for each in extensions(raw, systems.REQUESTED_SERVICE):
        entry = request.bundle.one(each.get("valueReference"), request.bundle.claim)
        if entry is not None:
            found.append({"url": systems.REQUESTED_SERVICE, "valueReference": refer(entry)})
    return found


def _provider(request: PasRequest, refer: Refer) -> dict[str, Any]:
    """The provider, an organization or person; of a role the person or organization behind it."""
    entry = request.provider
    if entry.kind == "PractitionerRole":
        for element in ("practitioner", "organization"):
            found = request.bundle.one(entry.resource.get(element), entry)
            if found is not None:
                entry = found
                break
    kind = systems.extension("authorizedProviderType")
    code = systems.concept(systems.ENTITY, "X3")
    return {"extension": [{"url": kind, "valueCodeableConcept": code}], **refer(entry)}
