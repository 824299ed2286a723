"""Which request a payer's answer, notification or inquiry result is about, and which of two answers is the newer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cds_service.fhir.concepts import dicts, word
from smart_app.dtr.package import messages_of
from smart_app.pas.closure import Resource

_RESPONSES = ("Bundle", "ClaimResponse")
_DEEPEST = 3  # a notification holds the Bundle that holds the response; a Parameters may stand around each
_TOLD = ("ClaimResponse", "CommunicationRequest", "Task", "OperationOutcome")  # what says something new


def response_bundle(body: Any) -> Resource:
    """The response Bundle of an answer to ``$submit``; some payers wrap it in Parameters, or send its heart alone.

    What holds no ClaimResponse stays as it is, and is unreadable.
    """
    if not isinstance(body, dict):
        return {}
    if body.get("resourceType") == "ClaimResponse":
        return _alone(body)
    if body.get("resourceType") == "Parameters":
        inside = [each.get("resource") for each in dicts(body.get("parameter"))]
        found = [each for each in dicts(inside) if each.get("resourceType") in _RESPONSES]
        return response_bundle(found[0]) if found else {}
    return body


def bundles_in(body: Any) -> list[Resource]:
    """Every answer within a Parameters, a Bundle or a ClaimResponse alone: a Bundle with one ClaimResponse each.

    Where several stand in one Bundle, each gets its own with all that is no ClaimResponse.
    """
    return list(_bundles(body, _DEEPEST))


def _bundles(body: Any, levels: int) -> Iterator[Resource]:
    if not isinstance(body, dict) or not levels:
        return
    kind = body.get("resourceType")
    if kind == "ClaimResponse":
        yield _alone(body)
    elif kind == "Parameters":
        for part in dicts(body.get("parameter")):
            yield from _bundles(part.get("resource"), levels - 1)
    elif kind == "Bundle":
        entries = list(dicts(body.get("entry")))
        responses = [each for each in entries if _kind(each) == "ClaimResponse"]
        others = [each for each in entries if _kind(each) not in {*_RESPONSES, "Parameters"}]
        if len(responses) == 1:
            yield {**body, "entry": [*responses, *others]}
        else:
            yield from ({**body, "entry": [each, *_about(each["resource"], others)]} for each in responses)
        for each in entries:
            if _kind(each) == "Bundle":
                yield from _bundles(each["resource"], levels - 1)


def _about(response: Mapping[str, Any], others: list[Resource]) -> list[Resource]:
    """Without requests for documents that are another response's."""
    named = {word(each.get("reference")).rpartition("/")[2] for each in dicts(response.get("communicationRequest"))}
    return [each for each in others if _kind(each) != "CommunicationRequest" or each["resource"].get("id") in named]


def _kind(entry: Mapping[str, Any]) -> str:
    resource = entry.get("resource")
    return word(resource.get("resourceType")) if isinstance(resource, dict) else ""


def _alone(response: Resource) -> Resource:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": response}]}


def claims_named(bundle: Mapping[str, Any]) -> list[str]:
    """Identifiers under which a response Bundle says which Claim it answers, each once."""
    found: dict[str, None] = {}
    for entry in dicts(bundle.get("entry")):
        if _kind(entry) == "Claim":
            found |= dict.fromkeys(_values(entry["resource"].get("identifier")))
        elif _kind(entry) == "ClaimResponse":
            request = entry["resource"].get("request")
            request = request if isinstance(request, dict) else {}
            found |= dict.fromkeys(_values([request.get("identifier")]))
            reference = word(request.get("reference"))
            if reference:
                found.setdefault(
                    reference if reference.startswith("urn:") else f"urn:uuid:{reference.rpartition('/')[2]}"
                )
    return list(found)


def own_numbers(bundle: Mapping[str, Any]) -> list[str]:
    """Identifiers of the response itself: some payers keep one for the whole case, and name no request."""
    return [f"response {each}" for each in _values(response_of(bundle).get("identifier"))]


def _values(identifiers: Any) -> list[str]:
    return [word(each.get("value")) for each in dicts(identifiers) if word(each.get("value"))]


def remarks_in(body: Any) -> tuple[str, ...]:
    """What OperationOutcomes of an answer say, those alone and those in a Bundle or Parameters."""
    if not isinstance(body, dict):
        return ()
    inside = [each.get("resource") for name in ("entry", "parameter") for each in dicts(body.get(name))]
    outcomes = [each for each in (body, *dicts(inside)) if each.get("resourceType") == "OperationOutcome"]
    return tuple(dict.fromkeys(text for each in outcomes for _, text in messages_of(each)))


def response_of(bundle: Mapping[str, Any]) -> Resource:
    """The ClaimResponse; empty where there is none."""
    return next((each["resource"] for each in dicts(bundle.get("entry")) if _kind(each) == "ClaimResponse"), {})


def says_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two answers say the same, though they were put together at different times."""
    return _content(one) == _content(other)


def _content(bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = [entry["resource"] for entry in dicts(bundle.get("entry")) if _kind(entry) in _TOLD]
    return [{name: value for name, value in each.items() if name not in {"id", "meta", "text"}} for each in told]


def is_older(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the first answer was certainly made before the second: by the responses' days, else by the Bundles'."""
    for ours, theirs in (
        (response_of(one).get("created"), response_of(other).get("created")),
        (one.get("timestamp"), other.get("timestamp")),
    ):
        first, second = _instant(ours), _instant(theirs)
        if first is None or second is None:
            continue
        if min(len(word(ours)), len(word(theirs))) <= len("2026-03-02"):  # one says the day alone: in its own zone
            if word(ours)[:10] != word(theirs)[:10]:
                return word(ours)[:10] < word(theirs)[:10]
        elif first != second:
            return first < second
    return False


def _instant(value: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(word(value))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def of_another_person(bundle: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether an answer is certainly about another person than the request: the patient was born on another day."""
    ours, theirs = _born(request, "Claim"), _born(bundle, "ClaimResponse")
    length = min(len(ours), len(theirs))
    return bool(length) and ours[:length] != theirs[:length]


def _born(bundle: Mapping[str, Any], heart: str) -> str:
    """The day of birth of the patient whom the Claim or ClaimResponse names; "" where it is not said."""
    entries = list(dicts(bundle.get("entry")))
    patient = next((each["resource"].get("patient") for each in entries if _kind(each) == heart), None)
    named = word(patient.get("reference")) if isinstance(patient, dict) else ""
    for entry in entries:
        if _kind(entry) == "Patient" and named:
            own = f"Patient/{entry['resource'].get('id')}"
            if named in {word(entry.get("fullUrl")), own} or named.endswith(f"/{own}"):
                return word(entry["resource"].get("birthDate"))
    return ""
