"""Whether codes and words of a medication speak of one drug and one strength.

Words are free text and prove nothing: what an order gives is told by its codes. But an order whose words name another
drug, or another strength, than its codes is one of two orders, and nobody here can tell which was meant.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

from cds_service.domain.order import Part
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import Vocabulary

_WORD: Final = re.compile(r"[a-z]+")
_NUMBER: Final = r"(\d{1,6}(?:,\d{3})*(?:\.\d{1,6})?)"
_STRENGTH: Final = re.compile(
    rf"{_NUMBER}\s*(mg|mcg|ug|\u00b5g|\u03bcg|micrograms?|milligrams?)\s*(?:/|per)\s*(?:{_NUMBER}\s*)?(?:ml|milliliters?)\b"
)
_PER_DAY: Final = re.compile(
    rf"{_NUMBER}\s*(mg|mcg|ug|\u00b5g|\u03bcg|micrograms?|milligrams?|ml|milliliters?)\s*"
    r"(?:(?:/|per|an?|every)\s*(\d{1,2})?\s*(h|hrs?|hours?|d|days?)\b|(daily|hourly)\b)"
)
_NEVER: Final = "opioids_never_neuraxial"  # optional value set of the terminology


def words_of(concept: Any) -> Iterator[str]:
    """Text and displays of a CodeableConcept."""
    if type(concept) is not dict:
        return
    if type(concept.get("text")) is str:
        yield concept["text"]
    codings = concept.get("coding")
    for coding in codings if type(codings) is list else ():
        if type(coding) is dict and type(coding.get("display")) is str:
            yield coding["display"]


def speaks_of_another(
    texts: Iterable[str], codes: tuple[Code, ...], parts: Collection[Part], vocabulary: Vocabulary
) -> bool:
    """Whether a text names a drug or a strength that is not among ``parts``, or a code another drug.

    Only where codes say of at least one of the parts which drug it is; words of a part that no guideline names are its
    own.
    """
    drugs, words = {part.name for part in parts if part.name is not None}, vocabulary.drug_words
    if not drugs:
        return False
    own = {word for part in parts if part.name is None for word in _WORD.findall(part.text.lower())}
    strengths = {part.concentration for part in parts if part.active}
    for text in texts:
        low = text.lower()
        named = {words[each] for each in _WORD.findall(low) if each in words and each not in own}
        if not named <= drugs:
            return True
        if None not in strengths and not strengths.issuperset(_amounts(_STRENGTH, low)):
            return True
    return any(not drugs_of(code, vocabulary) <= drugs for code in codes) or (
        _NEVER in vocabulary.value_sets and vocabulary.holds(_NEVER, codes) is not None
    )


def drugs_of(code: Code, vocabulary: Vocabulary) -> frozenset[str]:
    """The drugs that a code names, as far as it is known here."""
    product, ingredient = vocabulary.products.get(code), vocabulary.ingredients.get(code)
    names = [one.ingredient for one in product.ingredients] if product is not None else []
    return frozenset(names if ingredient is None else [*names, ingredient.name])


def most_per_day(texts: Iterable[str]) -> tuple[Fraction, Fraction]:
    """The largest mass (mg) and the largest volume (mL) per day that any of these texts names; 0 for none."""
    mass = volume = Fraction(0)
    for text in texts:
        for number, unit, count, span, word in _PER_DAY.findall(text.lower()):
            per = Fraction(count or 1) * (Fraction(1, 24) if (span or word).startswith("h") else 1)
            if not per:
                continue
            amount = Fraction(number.replace(",", "")) / per
            if unit.startswith(("ml", "millil")):
                volume = max(volume, amount)
            else:
                mass = max(mass, amount / _per_mg(unit))
    return mass, volume


def _amounts(pattern: re.Pattern[str], text: str) -> Iterator[Fraction]:
    """Amounts in mg, by what stands below the stroke."""
    for found in pattern.finditer(text):
        number, unit, *below = found.groups()
        amount = Fraction(number.replace(",", "")) / _per_mg(unit)
        volume = Fraction(below[0].replace(",", "")) if below and below[0] else Fraction(1)
        if volume:
            yield amount / volume


def _per_mg(unit: str) -> int:
    return 1 if unit == "mg" or unit.startswith("millig") else 1000
