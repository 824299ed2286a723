"""SMART scopes: which are asked for, and what a granted list allows (SM-07, SM-13, SM-14, SM-22, SM-23)."""

from __future__ import annotations

import re

from smart_app.registry import EhrProfile

SAVING = "QuestionnaireResponse"
_WIDE = ("patient/*.rs", f"patient/{SAVING}.cu")
_NARROW = (
    *(
        f"patient/{kind}.rs"
        for kind in (
            "Patient",
            "Coverage",
            "Condition",
            "MedicationRequest",
            "MedicationStatement",
            "MedicationAdministration",
            "Observation",
            "Procedure",
            "DocumentReference",
            "ServiceRequest",
            "DeviceRequest",
            "Device",
            "Encounter",
            "AllergyIntolerance",
        )
    ),
    f"patient/{SAVING}.cu",
    f"patient/{SAVING}.rs",
    "user/Practitioner.r",
    "user/PractitionerRole.r",
)
_REFRESH = {"none": (), "online": ("online_access",), "offline": ("offline_access",)}
_V2 = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]*|\*)\.(c?r?u?d?s?)(\?.+)?")
_V1 = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]*|\*)\.(read|write|\*)")
_V1_LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}


def asked_scopes(ehr: EhrProfile, *, standalone: bool, v2: bool) -> tuple[str, ...]:
    """What one authorization request asks for, each once, in order."""
    if standalone:
        launch = ("launch/patient", *(("launch/encounter",) if ehr.standalone_encounter else ()))
    else:
        launch = ("launch",)
    data = (*(_NARROW if ehr.scopes == "narrow" else _WIDE), *ehr.extra_scopes)
    identity = ("openid", "fhirUser", *_REFRESH[ehr.refresh])
    return tuple(dict.fromkeys((*launch, *identity, *(data if v2 else map(_older, data)))))


def _older(scope: str) -> str:
    """A v2 scope in the words of v1, the least that covers it."""
    found = _V2.fullmatch(scope)
    if found is None:
        return scope
    letters = set(found[3])
    word = "read" if letters <= {"r", "s"} else "write" if letters <= {"c", "u", "d"} else "*"
    return f"{found[1]}/{found[2]}.{word}"


def allows(granted: tuple[str, ...], resource_type: str, letter: str) -> bool:
    """Whether any granted scope lets the app do ``letter`` (c r u d s) with every resource of the type."""
    return any(letter in letters for kind, letters in _grants(granted) if kind in {"*", resource_type})


def may_save(granted: tuple[str, ...]) -> bool:
    """Whether answers can be created and updated in the EHR (SM-22)."""
    return allows(granted, SAVING, "c") and allows(granted, SAVING, "u")


def about_a_patient(granted: tuple[str, ...]) -> bool:
    """Whether a scope of the patient's compartment was granted, so that a patient must have been named (SM-23)."""
    return any(scope.startswith("patient/") for scope in granted)


def _grants(granted: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for scope in granted:
        if (newer := _V2.fullmatch(scope)) and newer[3] and newer[4] is None:
            found.append((newer[2], newer[3]))
        elif older := _V1.fullmatch(scope):
            found.append((older[2], _V1_LETTERS[older[3]]))
    return tuple(found)
