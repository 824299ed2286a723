"""SMART scopes: what an access token lets its bearer do, and what of a request is granted."""

from __future__ import annotations

import re

import msgspec

_SCOPE = re.compile(r"(?P<level>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]+)\.(?P<rights>read|write|\*|c?r?u?d?s?)")
_VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}
_LETTERS = "cruds"
# Scopes that open no resource: launch context, identity, refresh.
WORDS = frozenset(
    {"launch", "launch/patient", "launch/encounter", "openid", "fhirUser", "offline_access", "online_access"}
)

# What the sandbox lends a CDS service for one hook call: the types that a determination reads.
LENT_TYPES = (
    "Patient", "Coverage", "Encounter", "Condition", "MedicationRequest", "MedicationStatement",
    "MedicationDispense", "MedicationAdministration", "Medication", "Observation", "Procedure", "Device",
    "DeviceUseStatement", "AllergyIntolerance", "QuestionnaireResponse", "ServiceRequest", "DeviceRequest",
    "Practitioner", "Organization",
)  # fmt: skip
LENT = " ".join(f"patient/{kind}.rs" for kind in LENT_TYPES)


class Scope(msgspec.Struct, frozen=True):
    """One resource scope, SMART v1 or v2: ``rights`` are letters of "cruds"; ``word`` is the v1 word, or ""."""

    level: str  # patient | user | system
    type: str
    rights: str
    word: str = ""


def read_scope(text: str) -> Scope | None:
    """A resource scope, or None for anything else.

    A scope narrowed by a query ("patient/Observation.rs?category=...") is None: the query is not enforced here, so it
    must not widen.
    """
    match = _SCOPE.fullmatch(text)
    if match is None or not match["rights"]:
        return None
    rights = match["rights"]
    return Scope(match["level"], match["type"], _VERSION_1.get(rights, rights), rights if rights in _VERSION_1 else "")


def permits(scopes: str, resource_type: str, right: str, level: str = "patient") -> bool:
    """Whether a scope of ``level`` grants ``right`` (one of "cruds") on ``resource_type``."""
    held = (read_scope(text) for text in scopes.split())
    return any(
        scope.level == level and scope.type in {"*", resource_type} and right in scope.rights
        for scope in held
        if scope is not None
    )


def granted(requested: str, allowed: str) -> str:
    """What of ``requested`` an app gets that is registered for ``allowed``: the overlap, never more than was asked."""
    may = [scope for scope in map(read_scope, allowed.split()) if scope is not None]
    words = set(allowed.split())
    given: dict[str, None] = {}
    for text in requested.split():
        if text in WORDS and text in words:
            given[text] = None
        asked = read_scope(text)
        if asked is not None:
            given.update(dict.fromkeys(_overlap(asked, may)))
    return " ".join(given)


def within(narrower: str, wider: str) -> bool:
    """Whether ``narrower`` asks for nothing beyond ``wider``, as a refresh must."""
    return set(granted(narrower, wider).split()) == set(narrower.split())


def _overlap(asked: Scope, may: list[Scope]) -> list[str]:
    rights: dict[str, set[str]] = {}
    for one in may:
        if one.level != asked.level or (asked.type != one.type and "*" not in {asked.type, one.type}):
            continue
        common = set(asked.rights) & set(one.rights)
        if common:
            rights.setdefault(one.type if asked.type == "*" else asked.type, set()).update(common)
    every = rights.get("*", set())
    return [_text(asked, kind, letters) for kind, letters in rights.items() if kind == "*" or not letters <= every]


def _text(asked: Scope, kind: str, letters: set[str]) -> str:
    full = asked.word and letters == set(asked.rights)
    return f"{asked.level}/{kind}.{asked.word if full else ''.join(one for one in _LETTERS if one in letters)}"
