"""Which order, coverage and questionnaire a launch means (requirements AP-01, AP-02, AP-04).

A launch may say it in ``fhirContext``, in ``appContext`` (JSON, or the query string that the published CRD server
sends), in a saved draft, or not at all; then the person is asked. Everything here is what a stranger wrote: what is
no reference, canonical or id is left out, and nothing is followed from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from cds_service.errors import CdsServiceError
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.json import parse
from cds_service.fhir.references import normal
from smart_app.dtr.urls import COVERAGE_INFORMATION, QR_CONTEXT, QR_COVERAGE

ORDER_TYPES = ("MedicationRequest", "ServiceRequest", "DeviceRequest", "NutritionOrder", "VisionPrescription")
_MAX_TEXT = 20_000
_BARE_ID = re.compile(r"[A-Za-z0-9_~\-][A-Za-z0-9_~.\-]{0,511}")
_ASSERTION = re.compile(r"[\x21-\x7e]{1,255}")
_CANONICAL = re.compile(r"(?:https?://|urn:)[^\s|#\"<>\\]{1,1000}(?:\|[^\s|#\"<>\\]{1,100})?")
# The words that are in use for one thing; the first is ours.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "questionnaires": ("questionnaire", "template", "questionnaires"),
    "orders": ("order", "request", "orders"),
    "coverage": ("coverage",),
    "assertion": ("context", "coverageAssertionId", "coverage-assertion-id"),
    "response": ("response", "questionnaireResponse"),
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to document, as far as it is known.

    ``orders`` are ``Type/id``, or a bare id where the type is not said. ``assertion`` is the payer's own id of the
    earlier answer (the ``context`` of ``$questionnaire-package``). ``origin`` says which source decided:
    ``fhirContext``, ``appContext``, ``draft``, ``order``, ``picked``, or "" for none.
    """

    origin: str = ""
    orders: tuple[str, ...] = ()
    coverage: str = ""
    questionnaires: tuple[str, ...] = ()
    assertion: str = ""
    response: str = ""
    task: str = ""
    encounter: str = ""

    def says_what(self) -> bool:
        """Whether it names something that can be documented; a coverage alone does not."""
        return bool(
            self.orders or self.questionnaires or self.assertion or self.response or self.task or self.encounter
        )


NOTHING = Wanted()


def from_fhir_context(entries: Iterable[Any], host: str | None) -> Wanted:
    """Read ``fhirContext`` of the token response; entries with another role than ``launch`` are not meant (SM-39).

    ``host`` is the EHR's (``references.host_of``): references to other hosts are left out.
    """
    found: dict[str, list[str]] = {"order": [], "coverage": [], "response": [], "task": [], "encounter": []}
    canonicals: list[str] = []
    for entry in entries:
        if not isinstance(entry, Mapping) or word(entry.get("role")) not in {"", "launch"}:
            continue
        canonical = word(entry.get("canonical"))
        if canonical and word(entry.get("type")) in {"", "Questionnaire"} and _CANONICAL.fullmatch(canonical):
            canonicals.append(canonical)
        reference = _local(entry.get("reference"), host)
        kind = _SLOTS.get(reference.partition("/")[0])
        if kind is not None:
            found[kind].append(reference)
    return Wanted(
        origin="fhirContext",
        orders=_each_once(found["order"]),
        coverage=_only(found["coverage"]),
        questionnaires=_each_once(canonicals),
        response=_only(found["response"]),
        task=_only(found["task"]),
        encounter=_only(found["encounter"]),
    )


def from_app_context(text: str, host: str | None) -> Wanted:
    """Read ``appContext``: JSON object, or query string, either of them possibly percent-encoded once more."""
    said = _object(text) if len(text) <= _MAX_TEXT else {}
    values = {part: _strings(said, names) for part, names in _KEYS.items()}
    orders = [found for value in values["orders"] if (found := _order(value, host))]
    return Wanted(
        origin="appContext",
        orders=_each_once(orders),
        coverage=_typed(_only(values["coverage"]), "Coverage", host),
        questionnaires=_each_once(value for value in values["questionnaires"] if _CANONICAL.fullmatch(value)),
        assertion=next((value for value in values["assertion"] if _ASSERTION.fullmatch(value)), ""),
        response=_typed(_only(values["response"]), "QuestionnaireResponse", host),
    )


def asks_to_submit(text: str) -> bool:
    """Whether an ``appContext`` opens the app for the request itself, as nothing is to be answered any more."""
    return "prior-authorization" in _strings(_object(text) if len(text) <= _MAX_TEXT else {}, ("action",))


def from_draft(response: Mapping[str, Any], host: str | None) -> Wanted:
    """What a saved QuestionnaireResponse is about: its questionnaire, order and coverage, of every DTR version."""
    linked = [
        _linked(extension["valueReference"], host)
        for extension in dicts(response.get("extension"))
        if extension.get("url") in {QR_CONTEXT, QR_COVERAGE} and isinstance(extension.get("valueReference"), dict)
    ]
    canonical = word(response.get("questionnaire"))
    ident = word(response.get("id"))
    return Wanted(
        origin="draft",
        orders=_each_once(name for name in linked if name.partition("/")[0] in ORDER_TYPES),
        coverage=_only([name for name in linked if name.startswith("Coverage/")]),
        questionnaires=(canonical,) if _CANONICAL.fullmatch(canonical) else (),
        response=f"QuestionnaireResponse/{ident}" if ident else "",
        encounter=_local(_reference(response.get("encounter")), host),
    )


def from_order(order: Mapping[str, Any], host: str | None) -> Wanted:
    """What the payer wrote on the order itself, for EHRs that pass no ``appContext`` (AP-03, AP-04).

    Of several coverage-information the one with the latest date counts; ``insurance`` names the coverage without it.
    """
    told = [each for each in dicts(order.get("extension")) if each.get("url") == COVERAGE_INFORMATION]
    latest = max(told, key=_date_of, default=None)
    parts = list(dicts(latest.get("extension"))) if latest is not None else []
    coverage = _only([_local(_reference(p.get("valueReference")), host) for p in parts if p.get("url") == "coverage"])
    if not coverage:
        insured = [_local(_reference(each), host) for each in dicts(order.get("insurance"))]
        coverage = _only([name for name in insured if name.startswith("Coverage/")])
    canonicals = [word(p.get("valueCanonical")) for p in parts if p.get("url") == "questionnaire"]
    assertions = [word(p.get("valueString")) for p in parts if p.get("url") == "coverage-assertion-id"]
    return Wanted(
        origin="order",
        orders=(f"{order.get('resourceType')}/{order['id']}",) if word(order.get("id")) else (),
        coverage=coverage,
        questionnaires=_each_once(value for value in canonicals if _CANONICAL.fullmatch(value)),
        assertion=next((value for value in assertions if _ASSERTION.fullmatch(value)), ""),
    )


def resolve(sources: Sequence[Wanted]) -> Wanted:
    """The first source that says what is wanted, its holes filled by later ones that speak of the same (AP-01).

    Sources come in the guide's order: fhirContext, appContext, draft, what the person picked. One that names another
    order, or another questionnaire without an order in common, fills nothing: two requests never mix.
    """
    chosen = next((source for source in sources if source.says_what()), NOTHING)
    for other in sources:
        if other is not chosen and _of_the_same(chosen, other):
            chosen = filled(chosen, other)
    return chosen


def filled(wanted: Wanted, other: Wanted) -> Wanted:
    """``wanted`` with ``other``'s values where it has none."""
    changes = {
        name: getattr(other, name)
        for name in ("orders", "coverage", "questionnaires", "assertion", "response", "task", "encounter")
        if not getattr(wanted, name)
    }
    return msgspec.structs.replace(wanted, **changes)


def _of_the_same(one: Wanted, other: Wanted) -> bool:
    if one.orders and other.orders:
        ours, theirs = ({name.rpartition("/")[2] for name in each.orders} for each in (one, other))
        return bool(ours & theirs)
    if one.questionnaires and other.questionnaires:
        ours, theirs = ({name.partition("|")[0] for name in each.questionnaires} for each in (one, other))
        return bool(ours & theirs)
    return not (one.response and other.response and one.response != other.response)


_SLOTS = dict.fromkeys(ORDER_TYPES, "order") | {
    "Coverage": "coverage",
    "QuestionnaireResponse": "response",
    "Task": "task",
    "Encounter": "encounter",
}


def _object(text: str) -> dict[str, Any]:
    """The members of an appContext, whichever of its forms it has; nothing where it has none of them."""
    for form in dict.fromkeys((text.strip(), unquote(text.strip()))):
        if form.startswith("{"):
            try:
                said = parse(form.encode(), max_bytes=_MAX_TEXT)
            except (CdsServiceError, UnicodeEncodeError):
                continue
            return said if isinstance(said, dict) else {}
        if "=" in form:
            return _query(form)
    return {}


def _query(text: str) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(text.lstrip("?"), max_num_fields=50)
    except ValueError:
        return {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return dict(found)


def _strings(said: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Every text under any of ``names``: one, a list, or a list that was written as a JSON text."""
    found: list[str] = []
    for name in names:
        value = said.get(name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                found.append(word(each.get("reference")))
            elif isinstance(each, str):
                found.extend(_listed(each))
    return [each for each in found if each]


def _listed(text: str) -> list[str]:
    if not text.startswith("["):
        return [text]
    try:
        held = json.loads(text)
    except ValueError:
        return []
    return [each for each in held if isinstance(each, str)] if isinstance(held, list) else []


def _order(text: str, host: str | None) -> str:
    """``Type/id`` of an order, or the bare id that the published CRD server sends."""
    name = _local(text, host)
    if name:
        return name if name.partition("/")[0] in ORDER_TYPES else ""
    return text if _BARE_ID.fullmatch(text) else ""


def _typed(text: str, kind: str, host: str | None) -> str:
    name = _local(text, host) or (f"{kind}/{text}" if _BARE_ID.fullmatch(text) else "")
    return name if name.startswith(f"{kind}/") else ""


def _local(reference: Any, host: str | None) -> str:
    """``Type/id`` of a reference on this EHR, "" for any other."""
    name = normal(reference, host) or ""
    return "" if name.startswith(("http", "urn:", "#")) else name


def _linked(reference: Mapping[str, Any], host: str | None) -> str:
    """A link of a saved response; an order that was not signed yet is named by its draft's id alone."""
    name = _local(reference.get("reference"), host)
    kind, identifier = word(reference.get("type")), reference.get("identifier")
    ident = word(identifier.get("value")) if isinstance(identifier, Mapping) else ""
    if name or kind not in ORDER_TYPES or not _BARE_ID.fullmatch(ident):
        return name
    return f"{kind}/{ident}"


def _reference(value: Any) -> str:
    return word(value.get("reference")) if isinstance(value, Mapping) else ""


def _only(values: Sequence[str]) -> str:
    """The one value; of several different ones none, so that the person or the order decides."""
    distinct = set(filter(None, values))
    return distinct.pop() if len(distinct) == 1 else ""


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _date_of(extension: Mapping[str, Any]) -> str:
    dates = [word(part.get("valueDate")) for part in dicts(extension.get("extension")) if part.get("url") == "date"]
    return max(dates, default="")
