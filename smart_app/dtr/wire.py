"""The QuestionnaireResponse's head as DTR 2.0.1, 2.1 and 2.2 want it, and its hand-off (AP-23, AP-29, AP-32).

How order and coverage are linked and which code system the intended use has differs by version; the items with the
origins of their answers are ``sdc.response``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from smart_app.dtr.urls import COVERAGE_INFORMATION, DTR, INTENDED_USE, QR_CONTEXT, QR_COVERAGE, SIGNATURE
from smart_app.sdc.filling import Author

_INTENDED_USE_SYSTEM = {
    "2.0.1": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp",
    "2.1": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp",
    "2.2": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/coverage-information-codes",
}
_PROFILE = {
    False: f"{DTR}/dtr-questionnaireresponse",
    True: f"{DTR}/dtr-questionnaireresponse-adapt",
}

Resource = dict[str, Any]


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """What a response is about. ``unsigned``: order references that the EHR does not hold yet, by their draft's id."""

    patient: str
    coverage: str = ""
    orders: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    encounter: str = ""
    intended_use: tuple[str, ...] = ("withpa", "retain-doc")


class ResponseState(msgspec.Struct, frozen=True, kw_only=True):
    """What a response is at one moment.

    ``canonical`` is ``url|version`` of its questionnaire; ``status`` ``in-progress``, ``completed``, ``amended`` or
    ``stopped``; ``ident`` its id in the EHR, "" before it was created; ``identifier`` a ``urn:uuid:`` of ours, so that
    a creation that is repeated makes no second one. ``questionnaire``: of an adaptive form, as far as it has grown; it
    travels inside. ``coverage_information``: what the payer returned with an adaptive form (2.1 and 2.2 only).
    ``payers_own``: further root extensions of the draft, which go back as they came, and ``others`` further members of
    it (``others_of``).
    """

    canonical: str
    status: str
    ident: str = ""
    identifier: str = ""
    questionnaire: Mapping[str, Any] | None = None
    coverage_information: tuple[Mapping[str, Any], ...] = ()
    payers_own: tuple[Mapping[str, Any], ...] = ()
    others: Mapping[str, Any] = {}


def header(version: str, links: Links, author: Author, authored: datetime, state: ResponseState) -> Resource:
    """The members of a QuestionnaireResponse beside its items; ``authored`` is the moment of this state, with zone."""
    extensions = _links(links, version) + _intended_use(links, version)
    if version != "2.0.1":
        extensions += [dict(one) for one in state.coverage_information if one.get("url") == COVERAGE_INFORMATION]
    extensions += [dict(one) for one in state.payers_own]
    adaptive = state.questionnaire is not None
    head: Resource = {**state.others, **({"id": state.ident} if state.ident else {})}
    head["meta"] = {**head.get("meta", {}), "profile": [_PROFILE[adaptive]]}
    if state.questionnaire is not None:
        head["contained"] = [{**state.questionnaire, "id": _INSIDE}, *head.get("contained", ())]
    head["extension"] = extensions
    if state.identifier and "identifier" not in head:
        head["identifier"] = {"system": "urn:ietf:rfc:3986", "value": state.identifier}
    head["questionnaire"] = f"#{_INSIDE}" if adaptive else state.canonical
    head["status"] = state.status
    head["subject"] = {"reference": links.patient}
    if links.encounter:
        head["encounter"] = {"reference": links.encounter}
    head["authored"] = authored.isoformat(timespec="seconds")
    head["author"] = person(author)
    return head


def person(author: Author) -> Resource:
    """A Reference to somebody with the name that people know."""
    return {"reference": author.reference, **({"display": author.display} if author.display else {})}


_INSIDE = "questionnaire"


def hand_off(response: Resource, referenced: Iterable[Resource], base: str) -> Resource:
    """The collection that travels to a prior authorization: the response first, then what it refers to (AP-32)."""
    held = {f"{one.get('resourceType')}/{one.get('id')}": one for one in referenced}
    base = base.rstrip("/")
    entries = [{"fullUrl": _full_url(base, one), "resource": one} for one in (response, *held.values())]
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{DTR}/DTR-QRBundle"]},
        "type": "collection",
        "entry": entries,
    }


def references_of(response: Mapping[str, Any]) -> tuple[str, ...]:
    """Every relative reference anywhere in the response, each once, in order of appearance."""
    found: dict[str, None] = {}
    pending: list[Any] = [response]
    while pending:
        value = pending.pop(0)
        if isinstance(value, Mapping):
            reference = value.get("reference")
            if isinstance(reference, str) and "/" in reference and ":" not in reference:
                found[reference] = None
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return tuple(found)


def _full_url(base: str, resource: Mapping[str, Any]) -> str:
    return f"{base}/{resource.get('resourceType')}/{resource.get('id')}"


def _links(links: Links, version: str) -> list[Resource]:
    coverage = [{"reference": links.coverage}] if links.coverage else []
    orders = [{"reference": name} for name in links.orders]
    orders += [_logical(name) for name in links.unsigned]
    if links.encounter and not orders:
        orders = [{"reference": links.encounter}]
    if version == "2.2":
        return [_reference(QR_COVERAGE, one) for one in coverage] + [_reference(QR_CONTEXT, one) for one in orders]
    return [_reference(QR_CONTEXT, one) for one in (*coverage, *orders)]


def _logical(name: str) -> Resource:
    """A draft order that the EHR has not stored: named, not referred to, so that nothing dangles."""
    kind, _, ident = name.rpartition("/")
    return {"type": kind or "MedicationRequest", "identifier": {"value": ident}, "display": "order not signed yet"}


def _reference(url: str, reference: Resource) -> Resource:
    return {"url": url, "valueReference": reference}


def _intended_use(links: Links, version: str) -> list[Resource]:
    system = _INTENDED_USE_SYSTEM[version]
    return [
        {"url": INTENDED_USE, "valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}
        for code in links.intended_use
    ]


def payers_own_of(response: Mapping[str, Any]) -> tuple[Resource, ...]:
    """Root extensions of a payer's draft that this app does not write itself."""
    return tuple(each for each in dicts(response.get("extension")) if each.get("url") not in _WRITTEN_HERE)


def others_of(response: Mapping[str, Any]) -> Resource:
    """Members of a saved response that this app does not write itself, and that are not its own to drop.

    Another app's identifier, labels, contained resources and the like stay; a narrative would be wrong after a change.
    """
    kept = {name: value for name, value in response.items() if name not in _MEMBERS}
    meta = response.get("meta")
    labels = (
        {name: meta[name] for name in ("profile", "security", "tag") if name in meta} if isinstance(meta, dict) else {}
    )
    ours = set(_PROFILE.values())
    if isinstance(labels.get("profile"), list):
        labels["profile"] = [each for each in labels["profile"] if isinstance(each, str) and each not in ours]
    inside = [each for each in dicts(response.get("contained")) if each.get("resourceType") != "Questionnaire"]
    identifier = response.get("identifier")
    foreign = isinstance(identifier, dict) and not word(identifier.get("value")).startswith("urn:uuid:")
    return {
        **kept,
        **({"meta": labels} if labels else {}),
        **({"contained": inside} if inside else {}),
        **({"identifier": identifier} if foreign else {}),
    }


def without_orphans(response: Resource) -> Resource:
    """Contained resources that nothing refers to any more go: FHIR allows none (dom-3)."""
    inside = response.get("contained")
    if not isinstance(inside, list):
        return response
    named = set(_local_names({**response, "contained": inside}))
    kept = [each for each in inside if f"#{each.get('id')}" in named]
    rest = {name: value for name, value in response.items() if name != "contained"}
    return {**rest, "contained": kept} if kept else rest


def _local_names(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _local_names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _local_names(inner)
    elif isinstance(value, str) and value.startswith("#"):
        yield value


_MEMBERS = frozenset(
    {"resourceType", "id", "meta", "text", "contained", "extension", "identifier", "questionnaire", "status"}
    | {"subject", "encounter", "authored", "author", "item"}
)
_WRITTEN_HERE = frozenset({QR_CONTEXT, QR_COVERAGE, INTENDED_USE, COVERAGE_INFORMATION, SIGNATURE})


def intended_use_of(response: Mapping[str, Any]) -> tuple[str, ...]:
    """The intended use codes that a payer's draft carries."""
    found = []
    for extension in dicts(response.get("extension")):
        concept = extension.get("valueCodeableConcept")
        if extension.get("url") == INTENDED_USE and isinstance(concept, Mapping):
            found += [word(coding.get("code")) for coding in dicts(concept.get("coding"))]
    return tuple(code for code in dict.fromkeys(found) if code)
