"""What codes and words mean (``config/terminology``): routes, ingredients, products, units, value sets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from fractions import Fraction

import msgspec

from cds_service.domain.record import Code


class RouteGroup(Enum):
    """Routes that matter here, by where the drug goes."""

    INTRATHECAL = "intrathecal"
    EPIDURAL = "epidural"
    INTRASPINAL = "intraspinal"  # neuraxial, but it is not said which
    SYSTEMIC = "systemic"  # oral, buccal, transdermal, IV, SC, IM, rectal, ...
    OTHER = "other"  # neither neuraxial nor systemic


class PresentedStrength(msgspec.Struct, frozen=True):
    """One ingredient of a commercial product and its labelled concentration in mg/mL (None: not stated)."""

    ingredient: str
    mg_per_ml: Fraction | None


class Product(msgspec.Struct, frozen=True):
    """A coded commercial product. ``neuraxial``: it can be given neuraxially."""

    text: str
    ingredients: tuple[PresentedStrength, ...]
    neuraxial: bool
    volume_ml: Fraction | None = None  # of one container


class Ingredient(msgspec.Struct, frozen=True):
    """A substance that a guideline names. ``strengths``: commercial concentrations in mg/mL."""

    name: str  # "morphine"
    rxcui: str
    roles: tuple[str, ...]  # "opioid", "local_anesthetic", ...
    strengths: tuple[Fraction, ...] = ()
    neuraxial: bool = True


class ValueSet(msgspec.Struct, frozen=True):
    """Codes that mean one thing. ``prefixes``: code families such as D68 (system, prefix); see ``Vocabulary.holds``."""

    name: str
    title: str
    codes: frozenset[Code]
    prefixes: tuple[Code, ...] = ()


class Vocabulary(msgspec.Struct, frozen=True):
    """All tables of one configuration."""

    routes: Mapping[Code, RouteGroup]
    route_words: Mapping[str, RouteGroup]  # whole lower-case texts such as "intrathecal", "intrathecal route"
    ingredients: Mapping[Code, Ingredient]  # by RxNorm IN and known PIN codes
    products: Mapping[Code, Product]
    unit_aliases: Mapping[str, str]  # text unit as sent -> UCUM code ("mcg" -> "ug")
    value_sets: Mapping[str, ValueSet]
    timing_codes: Mapping[str, tuple[Fraction, Fraction]] = {}  # "BID" -> (times, days)
    systems: Mapping[str, tuple[str, ...]] = {}  # short name -> its URIs, ours first
    drug_words: Mapping[str, str] = {}  # lower-case word -> the ingredient that it names; "" a drug of no guideline

    def holds(self, name: str, codes: tuple[Code, ...]) -> Code | None:
        """The first of ``codes`` that value set ``name`` holds, else None. ICD-10-CM ignores case and dot."""
        value_set = self.value_sets[name]
        for code in codes:
            plain = canonical(code)
            if plain in value_set.codes:
                return code
            for prefix in value_set.prefixes:
                if plain.system == prefix.system and plain.code.startswith(prefix.code):
                    return code
        return None


ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"


def canonical(code: Code) -> Code:
    """The form in which value sets hold a code: ICD-10-CM upper case without dot, others as sent."""
    if code.system == ICD10CM:
        return Code(ICD10CM, code.code.upper().replace(".", ""))
    return code


def icd_text(code: str) -> str:
    """An ICD-10-CM code as people write it: upper case, with the dot (contract: determination)."""
    bare = code.upper().replace(".", "")
    return f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare
