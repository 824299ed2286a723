"""Small readings of FHIR data types that never trip over a wrong shape: what cannot be read is absent."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cds_service.domain.record import Code
from cds_service.domain.vocabulary import ICD10CM, icd_text

NOTHING: tuple[dict[str, Any], ...] = ()


def dicts(value: Any) -> Iterable[dict[str, Any]]:
    """The objects of a repeating element; nothing where it is not one."""
    if type(value) is not list:
        return NOTHING
    for item in value:
        if type(item) is not dict:
            return [item for item in value if type(item) is dict]
    return value


def word(value: Any) -> str:
    """A string, or ``""`` for anything else."""
    return value if type(value) is str else ""


def codings(concept: Any) -> Iterable[dict[str, Any]]:
    """The codings of a CodeableConcept."""
    return dicts(concept.get("coding")) if type(concept) is dict else NOTHING


def codes(concept: Any) -> tuple[Code, ...]:
    """The codes of one CodeableConcept."""
    return tuple(
        [
            Code(word(coding.get("system")), code)
            for coding in codings(concept)
            if type(code := coding.get("code")) is str
        ]
    )


def codes_of_all(concepts: Any) -> tuple[Code, ...]:
    """The codes of a repeating CodeableConcept."""
    return tuple([code for concept in dicts(concepts) for code in codes(concept)])


def label(concept: Any) -> str:
    """What a person calls it: the text, else the first display, else the first code (ICD-10-CM with its dot)."""
    if type(concept) is not dict:
        return ""
    text = concept.get("text")
    if type(text) is str:
        return text
    spare = ""
    for coding in codings(concept):
        display = coding.get("display")
        if type(display) is str:
            return display
        if not spare:
            code = word(coding.get("code"))
            spare = icd_text(code) if coding.get("system") == ICD10CM else code
    return spare


def has_code(concept: Any, wanted: frozenset[str]) -> bool:
    """One of the codings carries one of ``wanted``, whatever its system."""
    for coding in codings(concept):
        code = coding.get("code")
        if type(code) is str and code in wanted:
            return True
    return False


def number(value: Any) -> Fraction | None:
    """A JSON number, exactly."""
    return Fraction(value) if type(value) is int or type(value) is Decimal else None
