"""What an order's medication is made of: codes, ingredients and their concentrations (guideline analysis 1.1, 3, 4).

Names are free text and prove nothing; a name of a drug that the guideline names only keeps an uncoded medication
from passing as one that it does not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cds_service.domain.order import Part, Solution
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import Ingredient, Product, Vocabulary
from cds_service.fhir.drug_words import speaks_of_another, words_of
from cds_service.fhir.quantities import CONFLICT, Reading
from cds_service.fhir.strengths import Strength, container_volume, read_strength
from cds_service.fhir.systems import RXNORM

Resolve = Callable[[Any, Any], Mapping[str, Any] | None]
Resource = Mapping[str, Any]

_WORD = re.compile(r"[a-z]+")
_DILUENTS = "diluents"  # optional value set of the terminology


class Medicine(msgspec.Struct, frozen=True):
    """The medication of an order. ``flags``: (code, ingredient name or "" for the whole)."""

    solution: Solution | None
    codes: tuple[Code, ...]
    text: str
    dose_form: tuple[Code, ...] = ()
    flags: tuple[tuple[str, str], ...] = ()


NOTHING = Medicine(None, (), "")
_NO_STRENGTH = Strength(None, (), "strength: not stated")


def read_medicine(order: Resource, resolve: Resolve, vocabulary: Vocabulary) -> Medicine:
    """The medication of a MedicationRequest, or of another resource with ``medication[x]``."""
    concept, reference = order.get("medicationCodeableConcept"), order.get("medicationReference")
    if type(concept) is dict:
        coded = _coded(concept, vocabulary)
        return coded if reference is None else _doubtful(coded)  # medication[x] twice: which one is ordered?
    if type(reference) is not dict:
        return NOTHING
    medication, display = resolve(reference, order), reference.get("display")
    shown = display if type(display) is str else ""
    if medication is None or medication.get("resourceType") != "Medication":
        return Medicine(None, (), shown)
    made = _Composed(medication, order, resolve, vocabulary).medicine()
    parts = made.solution.parts if made.solution is not None else ()
    return _doubtful(made) if speaks_of_another((shown,), (), parts, vocabulary) else made


def _doubtful(medicine: Medicine) -> Medicine:
    """The same, with the remark that it is said in two ways."""
    parts = medicine.solution.parts if medicine.solution is not None else ()
    flag = (CONFLICT, next((part.name for part in parts if part.name), ""))
    return msgspec.structs.replace(medicine, flags=tuple(dict.fromkeys((*medicine.flags, flag))))


def codes_of(concept: Any) -> tuple[Code, ...]:
    """Codings of a CodeableConcept, those without code left out."""
    codings = concept.get("coding") if type(concept) is dict else None
    if type(codings) is not list:
        return ()
    return tuple(
        Code(str(coding.get("system") or ""), coding["code"])
        for coding in codings
        if type(coding) is dict and type(coding.get("code")) is str
    )


def text_of(concept: Any) -> str:
    """What a person calls it: text, else the first display."""
    if type(concept) is not dict:
        return ""
    text = concept.get("text")
    if type(text) is str and text:
        return text
    for coding in members_of(concept, "coding"):
        display = coding.get("display") if type(coding) is dict else None
        if type(display) is str and display:
            return display
    return ""


def members_of(resource: Mapping[str, Any], key: str) -> list[Any]:
    """The elements of a repeating element; none where it is absent or no array."""
    value = resource.get(key)
    return value if type(value) is list else []


def _coded(concept: Mapping[str, Any], vocabulary: Vocabulary) -> Medicine:
    """A medication that is nothing but a code: a commercial product, or a bare ingredient without concentration."""
    codes, text = codes_of(concept), text_of(concept)
    product = _product(codes, vocabulary)
    if product is not None:
        parts, flags = _presented(product, codes, vocabulary)
        solution = Solution(parts, text, product.text, product.neuraxial)
    else:
        part, flags = _part(codes, text, _NO_STRENGTH, vocabulary, active=True)
        parts = (part,)
        solution = Solution(parts, text, identified=_identified(parts, vocabulary))
    medicine = Medicine(solution, codes, text, (), flags)
    return _doubtful(medicine) if speaks_of_another(words_of(concept), codes, parts, vocabulary) else medicine


def _product(codes: tuple[Code, ...], vocabulary: Vocabulary) -> Product | None:
    for code in codes:
        product = vocabulary.products.get(code)
        if product is not None:
            return product
    return None


def _presented(
    product: Product, codes: tuple[Code, ...], vocabulary: Vocabulary
) -> tuple[tuple[Part, ...], tuple[tuple[str, str], ...]]:
    """The ingredients of a commercial product with their labelled concentrations; two products may differ in these."""
    rxcuis = {known.name: known.rxcui for known in vocabulary.ingredients.values()}
    products = [vocabulary.products[code] for code in codes if code in vocabulary.products]
    parts = []
    flags: tuple[tuple[str, str], ...] = ()
    for one in product.ingredients:
        concentration, why = one.mg_per_ml, "" if one.mg_per_ml is not None else "strength: not stated for this product"
        labels = {
            each.mg_per_ml for other in products for each in other.ingredients if each.ingredient == one.ingredient
        }
        if len(labels) > 1:
            concentration, why = None, "strength: the codes name products of several strengths"
            flags += ((CONFLICT, one.ingredient),)
        rxcui = rxcuis.get(one.ingredient, "")
        parts.append(
            Part(one.ingredient, rxcui, product.text, codes, active=True, concentration=concentration, why=why)
        )
    return tuple(parts), flags


def _part(
    codes: tuple[Code, ...], text: str, strength: Strength, vocabulary: Vocabulary, *, active: bool
) -> tuple[Part, tuple[tuple[str, str], ...]]:
    """One ingredient. A drug that the guideline names is active whatever the sender says; that is a conflict."""
    named: Ingredient | None = None
    flags: tuple[tuple[str, str], ...] = ()
    for code in codes:
        known = vocabulary.ingredients.get(code)
        if known is not None and named is not None and known.name != named.name:
            flags = ((CONFLICT, named.name),)
        named = named or known
    name, rxcui = (named.name, named.rxcui) if named is not None else (None, "")
    if named is not None and not active:
        flags += ((CONFLICT, named.name),)
    flags += tuple((flag, name or "") for flag in strength.flags)
    if not rxcui:
        rxcui = next((code.code for code in codes if code.system == RXNORM), "")
    part = Part(
        name, rxcui, text, codes, active or named is not None, strength.concentration, strength.steps, strength.why
    )
    return part, flags


def _identified(parts: tuple[Part, ...], vocabulary: Vocabulary) -> bool:
    """Whether codes say what the drug is: one that is named here, or RxNorm codes of drugs that are not."""
    if any(part.name is not None for part in parts):
        return True
    names: set[str] | None = None
    for part in parts:
        if not part.active:
            continue
        if not any(code.system == RXNORM for code in part.codes):
            return False
        names = {known.name for known in vocabulary.ingredients.values()} if names is None else names
        if names.intersection(_WORD.findall(part.text.lower())):
            return False  # an RxNorm code that is not known here, shown as a drug that is
    return bool(parts)


class _Composed:
    """A Medication resource being read."""

    def __init__(self, medication: Resource, order: Resource, resolve: Resolve, vocabulary: Vocabulary) -> None:
        self.medication = medication
        self.order = order
        self.resolve = resolve
        self.vocabulary = vocabulary
        self.flags: list[tuple[str, str]] = []

    def medicine(self) -> Medicine:
        """Its solution: the ingredients, else the coded product, else the bare code."""
        concept = self.medication.get("code")
        codes, text = codes_of(concept), text_of(concept)
        form = codes_of(self.medication.get("form"))
        ingredients = [one for one in members_of(self.medication, "ingredient") if type(one) is dict]
        if not ingredients:
            plain = _coded(concept if type(concept) is dict else {}, self.vocabulary)
            return msgspec.structs.replace(plain, dose_form=form)
        container = container_volume(self.medication.get("amount"), self.vocabulary.unit_aliases)
        product = _product(codes, self.vocabulary)
        parts = tuple(self._ingredient(one, container, product) for one in ingredients)
        shown = text or " + ".join(part.text for part in parts if part.active and part.text)
        solution = Solution(
            parts,
            shown,
            product.text if product else None,
            product is not None and product.neuraxial,
            _identified(parts, self.vocabulary),
        )
        medicine = Medicine(solution, codes, shown, form, tuple(self.flags))
        return _doubtful(medicine) if speaks_of_another(words_of(concept), codes, parts, self.vocabulary) else medicine

    def _ingredient(self, ingredient: dict[str, Any], container: Reading, product: Product | None) -> Part:
        strength = read_strength(ingredient.get("strength"), container, self.vocabulary.unit_aliases)
        concept = ingredient.get("itemCodeableConcept")
        if type(concept) is not dict and type(ingredient.get("itemReference")) is dict:
            concept, strength = self._component(ingredient["itemReference"], strength)
        codes = codes_of(concept)
        active = ingredient.get("isActive") is not False and not self._diluent(codes)
        part, flags = _part(codes, text_of(concept), strength, self.vocabulary, active=active)
        self.flags.extend(flags)
        part = part if product is None else self._labelled(part, product)
        if speaks_of_another(words_of(concept), codes, (part,), self.vocabulary):
            self.flags.append((CONFLICT, part.name or ""))
        return part

    def _component(self, reference: Any, strength: Strength) -> tuple[Any, Strength]:
        """The Substance or Medication that an ingredient refers to; of a product, the drug in it."""
        item = self.resolve(reference, self.medication) or self.resolve(reference, self.order)
        if item is None:
            return {"text": reference.get("display")}, strength
        concept = item.get("code")
        product = _product(codes_of(concept), self.vocabulary)
        if product is None or len(product.ingredients) != 1:
            return concept, strength
        only = product.ingredients[0]
        coded = next(
            (code for code, known in self.vocabulary.ingredients.items() if known.name == only.ingredient), None
        )
        if coded is None:
            return concept, strength
        concept = {"coding": [{"system": coded.system, "code": coded.code}], "text": text_of(concept) or product.text}
        if strength.share is None or only.mg_per_ml is None:
            return concept, strength
        mixed = strength.share * only.mg_per_ml
        return concept, Strength(mixed, (), "", strength.flags)

    def _diluent(self, codes: tuple[Code, ...]) -> bool:
        return _DILUENTS in self.vocabulary.value_sets and self.vocabulary.holds(_DILUENTS, codes) is not None

    def _labelled(self, part: Part, product: Product) -> Part:
        """Fill a missing strength from the product's label; two that differ are a conflict, so unknown."""
        for one in product.ingredients:
            if one.ingredient == part.name and one.mg_per_ml is not None and one.mg_per_ml != part.concentration:
                if part.concentration is None and part.why == "strength: not stated":
                    return msgspec.structs.replace(part, concentration=one.mg_per_ml, why="")
                self.flags.append((CONFLICT, one.ingredient))
                why = "strength: the product's label and the stated strength differ"
                return msgspec.structs.replace(part, concentration=None, steps=(), why=why)
        return part
