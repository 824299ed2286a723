"""The QuestionnaireResponse as DTR 2.0.1, 2.1 and 2.2 want it written (requirements AP-15, AP-23, AP-29, AP-32).

The only module that knows how the versions differ: the words of an answer's origin, how order and coverage are
linked, and the code system of the intended use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from smart_app.dtr.urls import COVERAGE_INFORMATION, DTR, EVIDENCE, INTENDED_USE, ORIGIN, QR_CONTEXT, QR_COVERAGE

VERSIONS = ("2.0.1", "2.1", "2.2")
ORIGINS = ("auto-client", "auto-server", "override", "manual")  # ours, and those of 2.2

_BEFORE_2_2 = {"auto-client": "auto", "auto-server": "auto"}
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


class Author(msgspec.Struct, frozen=True):
    """Who answered. ``reference`` is a Practitioner (or PractitionerRole, Patient, ...) of the EHR."""

    reference: str
    name: str = ""
    role: Resource | None = None  # CodeableConcept of the provider's role

    def as_reference(self) -> Resource:
        """A FHIR Reference with the name that people know."""
        return {"reference": self.reference, **({"display": self.name} if self.name else {})}


class Evidence(msgspec.Struct, frozen=True):
    """One thing that an answer rests on. ``source`` is ``Type/id`` in the EHR, or words."""

    source: str
    date: str
    shows: str


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """What a response is about. ``unsigned``: order references that the EHR does not hold yet, by their draft's id."""

    patient: str
    coverage: str = ""
    orders: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    encounter: str = ""
    intended_use: tuple[str, ...] = ("withpa", "retain-doc")


class Origin(msgspec.Struct, frozen=True):
    """Where an answer came from; ``source`` is one of ORIGINS, "" where the response does not say."""

    source: str = ""
    author: Author | None = None


def origin_extension(origin: Origin, version: str) -> Resource:
    """The information-origin of one answer.

    ``auto`` without author, ``manual`` and ``override`` with one, as the guide's rule ``dtrx-1`` has it. Raises
    ValueError where an author is missing or too many, KeyError for an unknown version.
    """
    by_person = origin.source in {"manual", "override"}
    if origin.source not in ORIGINS or by_person != (origin.author is not None):
        raise ValueError("an answer of a person needs an author, another has none")
    code = origin.source if version == "2.2" else _BEFORE_2_2.get(origin.source, origin.source)
    parts: list[Resource] = [{"url": "source", "valueCode": code}]
    if origin.author is not None:
        who: list[Resource] = []
        if origin.author.role is not None:
            who.append({"url": "role", "valueCodeableConcept": origin.author.role})
        if origin.author.reference.startswith(("Practitioner/", "PractitionerRole/")):
            who.append({"url": "practitioner", "valueReference": origin.author.as_reference()})
        parts.append({"url": "author", "extension": who or [{"url": "role", "valueCodeableConcept": _ANY_ROLE}]})
    return {"url": ORIGIN, "extension": parts}


_ANY_ROLE = {"text": "not a practitioner"}


def read_origin(answer: Mapping[str, Any]) -> Origin:
    """The origin of an answer of any version; a bare ``auto`` is the payer's, which the app re-checks like its own."""
    for extension in dicts(answer.get("extension")):
        if extension.get("url") == ORIGIN:
            parts = {word(part.get("url")): part for part in dicts(extension.get("extension"))}
            code = word(parts.get("source", {}).get("valueCode"))
            source = "auto-server" if code == "auto" else code if code in ORIGINS else ""
            return Origin(source, _author(parts.get("author")))
    return Origin()


def evidence_extensions(evidence: Iterable[Evidence]) -> list[Resource]:
    """What an answer rests on, beside it (our own public extension; other apps may leave it aside)."""
    return [
        {
            "url": EVIDENCE,
            "extension": [
                {"url": "source", "valueString": one.source},
                *([{"url": "date", "valueString": one.date}] if one.date else []),
                {"url": "shows", "valueString": one.shows},
            ],
        }
        for one in evidence
        if one.source and one.shows
    ]


def read_evidence(answer: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """The evidence beside an answer, whoever wrote it."""
    found = []
    for extension in dicts(answer.get("extension")):
        if extension.get("url") != EVIDENCE:
            continue
        parts = {word(part.get("url")): part for part in dicts(extension.get("extension"))}
        source = parts.get("source", {})
        reference = source.get("valueReference")
        named = word(reference.get("reference")) if isinstance(reference, Mapping) else word(source.get("valueString"))
        shown = word(parts.get("shows", {}).get("valueString"))
        found.append(Evidence(named, word(parts.get("date", {}).get("valueString")), shown))
    return tuple(found)


def response_resource(  # noqa: PLR0913 - a response is all of these
    *,
    version: str,
    canonical: str,
    status: str,
    items: Sequence[Resource],
    links: Links,
    author: Author,
    authored: datetime,
    ident: str = "",
    questionnaire: Resource | None = None,
    coverage_information: Sequence[Resource] = (),
    contained: Sequence[Resource] = (),
) -> Resource:
    """A whole QuestionnaireResponse as ``version`` has it.

    Args:
        version: one of VERSIONS.
        canonical: ``url|version`` of the questionnaire.
        status: ``in-progress``, ``completed``, ``amended`` or ``stopped``.
        items: its items, answers with their origins, as ``sdc.response`` makes them.
        links: patient, coverage, orders.
        author: who is signed in.
        authored: the moment of this state, with its zone.
        ident: its id in the EHR, "" before it was created.
        questionnaire: of an adaptive form, the questionnaire that has grown so far; it travels inside.
        coverage_information: what the payer returned with an adaptive form (2.1 and 2.2 only).
        contained: further resources that answers refer to.
    """
    extensions = _links(links, version) + _intended_use(links, version)
    if version != "2.0.1":
        extensions += [each for each in coverage_information if each.get("url") == COVERAGE_INFORMATION]
    inside = [{**questionnaire, "id": _INSIDE}] if questionnaire is not None else []
    resource: Resource = {"resourceType": "QuestionnaireResponse"}
    if ident:
        resource["id"] = ident
    resource["meta"] = {"profile": [_PROFILE[questionnaire is not None]]}
    if inside or contained:
        resource["contained"] = [*inside, *contained]
    resource["extension"] = extensions
    resource["questionnaire"] = f"#{_INSIDE}" if questionnaire is not None else canonical
    resource["status"] = status
    resource["subject"] = {"reference": links.patient}
    if links.encounter:
        resource["encounter"] = {"reference": links.encounter}
    resource["authored"] = authored.isoformat(timespec="seconds")
    resource["author"] = author.as_reference()
    if items:
        resource["item"] = list(items)
    return resource


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


def intended_use_of(response: Mapping[str, Any]) -> tuple[str, ...]:
    """The intended use codes that a payer's draft carries."""
    found = []
    for extension in dicts(response.get("extension")):
        concept = extension.get("valueCodeableConcept")
        if extension.get("url") == INTENDED_USE and isinstance(concept, Mapping):
            found += [word(coding.get("code")) for coding in dicts(concept.get("coding"))]
    return tuple(code for code in dict.fromkeys(found) if code)


def _author(part: Mapping[str, Any] | None) -> Author | None:
    if part is None:
        return None
    held = {word(each.get("url")): each for each in dicts(part.get("extension"))}
    reference = held.get("practitioner", {}).get("valueReference")
    role = held.get("role", {}).get("valueCodeableConcept")
    named = reference if isinstance(reference, Mapping) else {}
    return Author(word(named.get("reference")), word(named.get("display")), role if isinstance(role, dict) else None)
