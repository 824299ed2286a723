"""The people who work here and where: made up, with roles that an app can read."""

from __future__ import annotations

import msgspec

from sandbox_ehr.codes import TERMINOLOGY, concept
from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.patients.chart import PRACTITIONER

CLINIC = "sandbox-clinic"
NURSE = "nurse-sample"
NPI = "http://hl7.org/fhir/sid/us-npi"


class Member(msgspec.Struct, frozen=True):
    """One member of the staff; ``signs``: whether it signs orders."""

    id: str
    given: str
    family: str
    title: str
    suffix: str
    npi: str  # made up, with a right check digit; "" for who orders nothing
    degree: tuple[str, str]  # code and words of HL7 table 0360
    role: str  # code of the HL7 practitioner-role system
    role_words: str
    signs: bool

    @property
    def name(self) -> str:
        """As on a badge."""
        return " ".join(filter(None, (self.title, self.given, self.family))) + (self.suffix and f", {self.suffix}")


STAFF = {
    one.id: one
    for one in (
        Member(
            PRACTITIONER, "Alex", "Sample", "Dr.", "", "1999999984", ("MD", "Doctor of Medicine"), "doctor",
            "Prescriber", signs=True,
        ),
        Member(
            NURSE, "Robin", "Example", "", "RN", "", ("RN", "Registered Nurse"), "nurse", "Nurse", signs=False,
        ),
    )
}  # fmt: skip


def staff() -> tuple[Resource, ...]:
    """Everybody with a role, and the clinic."""
    clinic = {
        "resourceType": "Organization",
        "id": CLINIC,
        "active": True,
        "identifier": [{"system": NPI, "value": "1999999976"}],
        "name": "Sandbox Pain Clinic",
        "address": [{"line": ["1 Example Street"], "city": "Sampletown", "state": "FL", "postalCode": "32000"}],
    }
    return (clinic, *(resource for member in STAFF.values() for resource in _member(member)))


def _member(member: Member) -> tuple[Resource, Resource]:
    name: Resource = {"family": member.family, "given": [member.given]}
    if member.title:
        name["prefix"] = [member.title]
    if member.suffix:
        name["suffix"] = [member.suffix]
    person = {
        "resourceType": "Practitioner",
        "id": member.id,
        "active": True,
        **({"identifier": [{"system": NPI, "value": member.npi}]} if member.npi else {}),
        "name": [name],
        "qualification": [{"code": concept(f"{TERMINOLOGY}v2-0360", *member.degree)}],
    }
    role = {
        "resourceType": "PractitionerRole",
        "id": f"{member.id}-role",
        "active": True,
        "practitioner": {"reference": f"Practitioner/{member.id}", "display": member.name},
        "organization": {"reference": f"Organization/{CLINIC}", "display": "Sandbox Pain Clinic"},
        "code": [concept(f"{TERMINOLOGY}practitioner-role", member.role, member.role_words)],
    }
    return person, role
