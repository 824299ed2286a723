"""Who may sign as a prescriber: a practitioner whom nothing shows to be of a profession that does not prescribe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from cds_service.fhir.chart import Chart, Resource
from cds_service.fhir.concepts import dicts, label, word

_TYPES: Final = frozenset({"Practitioner", "PractitionerRole"})
_PERSONS: Final = _TYPES | {"Patient", "RelatedPerson"}
_TAXONOMY: Final = "http://nucc.org/provider-taxonomy"
# Nurses (not nurse practitioners: 363L), pharmacists, therapists, technicians and aides of the taxonomy.
_TAXONOMY_PREFIXES: Final = ("163W", "164", "183", "225", "246", "247", "372", "373", "374", "376")
_CODES: Final = frozenset({
    ("http://snomed.info/sct", "106292003"), ("http://snomed.info/sct", "224535009"),
    ("http://snomed.info/sct", "46255001"),
    ("http://terminology.hl7.org/CodeSystem/practitioner-role", "nurse"),
    ("http://terminology.hl7.org/CodeSystem/practitioner-role", "pharmacist"),
    ("http://terminology.hl7.org/CodeSystem/v2-0360", "RN"), ("http://terminology.hl7.org/CodeSystem/v2-0360", "LPN"),
    ("http://terminology.hl7.org/CodeSystem/v2-0360", "CMA"), ("http://terminology.hl7.org/CodeSystem/v2-0360", "CNA"),
})  # fmt: skip
_WORDS: Final = frozenset({
    "rn", "lpn", "registered nurse", "nurse", "licensed practical nurse", "licensed vocational nurse", "case manager",
    "pharmacist", "clinical pharmacist", "medical assistant", "certified medical assistant", "care coordinator",
})  # fmt: skip
_LETTERS: Final = frozenset({"RN", "LPN", "LVN", "BSN", "MSN", "CNA", "CMA", "PHARMD", "RPH"})
_PRESCRIBES: Final = frozenset({
    "MD", "DO", "MBBS", "DPM", "DDS", "DMD", "NP", "CNP", "FNP", "ANP", "ARNP", "APRN", "DNP", "CRNA", "CNS",
    "PA", "PAC",
})  # fmt: skip


def may_prescribe(kind: str, *resources: Resource | None) -> bool:
    """Whether a person may be a prescriber.

    ``kind``: the type that is known even where the resource is not there. ``resources``: what is known of the person,
    a role and the practitioner in it.
    """
    if kind not in _TYPES:
        return False
    told = [each for resource in resources if resource is not None for each in _professions(resource)]
    return not told or not all(map(_never_prescribes, told))


def person_may_prescribe(chart: Chart, person: Any, holder: Resource) -> bool:
    """Whether a Reference in ``holder`` means somebody who may prescribe."""
    if type(person) is not dict or not name_may_prescribe(word(person.get("display"))):
        return False
    resource = chart.resolve(person, holder)
    within = chart.resolve(resource.get("practitioner"), resource) if resource is not None else None
    return may_prescribe(_kind(chart, person, holder), resource, within)


def person_never_prescribes(chart: Chart, person: Any, holder: Resource) -> bool:
    """Whether a Reference means a person who is known not to prescribe; nobody, a device or an organization is none."""
    return _kind(chart, person, holder) in _PERSONS and not person_may_prescribe(chart, person, holder)


def _kind(chart: Chart, person: Any, holder: Resource) -> str:
    """The type of what a Reference means, also where it is not there."""
    if type(person) is not dict:
        return ""
    name, resource = chart.normal(person) or "", chart.resolve(person, holder)
    if "/" in name:
        return name.rsplit("/", 2)[-2]
    return word(resource.get("resourceType") if resource else person.get("type"))


def name_may_prescribe(name: str) -> bool:
    """Whether the letters after a name leave room for a prescriber: "Cora Lake, RN" do not, "A. Field, RN, FNP" do."""
    letters = {part.replace(".", "").upper() for part in re.split(r"[,\s/-]+", name.partition(",")[2]) if part}
    return not letters & _LETTERS or bool(letters & _PRESCRIBES)


def _professions(resource: Resource) -> Iterator[tuple[str, str]]:
    """System and code of each; ("", what it is called) of one without a code, and of the letters after a name."""
    concepts = [*dicts(resource.get("code")), *(each.get("code") for each in dicts(resource.get("qualification")))]
    for concept in concepts:
        codings = list(dicts(concept.get("coding"))) if type(concept) is dict else []
        for coding in codings:
            yield word(coding.get("system")), word(coding.get("code"))
        if not codings and label(concept):
            yield "", label(concept)
    for name in dicts(resource.get("name")):
        suffix = name.get("suffix")
        for letters in suffix if type(suffix) is list else ():
            yield "", word(letters)


def _never_prescribes(coding: tuple[str, str]) -> bool:
    system, code = coding
    if not system:
        return code.strip().lower() in _WORDS or not name_may_prescribe(f", {code}")
    return coding in _CODES or (system == _TAXONOMY and code.startswith(_TAXONOMY_PREFIXES))
