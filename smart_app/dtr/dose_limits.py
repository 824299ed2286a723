"""The dose table that a payer publishes on its questionnaire, as limits to hold amounts against.

The extension is public, so any app may draw the same bars; a questionnaire without it simply has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.limits import DoseTable, Limit
from cds_service.domain.quantity import CONCENTRATION, MASS_RATE, Dimension
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import Ingredient, RouteGroup, Vocabulary
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.quantities import read_quantity
from smart_app.dtr.urls import DOSE_LIMIT

_ROUTES = frozenset({RouteGroup.INTRATHECAL})


class Limits(msgspec.Struct, frozen=True):
    """The table, and the vocabulary with every ingredient that the table names."""

    table: DoseTable
    vocabulary: Vocabulary
    names: Mapping[str, str]  # as the guideline's row is called -> as the payer shows it


def read_limits(questionnaire: Mapping[str, Any], vocabulary: Vocabulary) -> Limits | None:
    """The limits of a questionnaire; None when it publishes none that can be read.

    An ingredient that the vocabulary knows keeps its name there, so that its salts and products are recognised too.
    """
    rows: dict[str, Limit] = {}
    ingredients = dict(vocabulary.ingredients)
    names: dict[str, str] = {}
    for extension in dicts(questionnaire.get("extension")):
        if extension.get("url") != DOSE_LIMIT:
            continue
        parts = {word(part.get("url")): part for part in dicts(extension.get("extension"))}
        coding = parts.get("ingredient", {}).get("valueCoding")
        if not isinstance(coding, Mapping) or not word(coding.get("code")):
            continue
        code = Code(word(coding.get("system")), word(coding.get("code")))
        known = ingredients.get(code) or Ingredient(word(coding.get("display")).lower() or code.code, code.code, ())
        ingredients[code] = known
        names[known.name] = word(coding.get("display")) or known.name
        rows[known.name] = Limit(
            _amount(parts.get("daily"), MASS_RATE),
            _amount(parts.get("concentration"), CONCENTRATION),
            None,
            None,
            word(parts.get("cite", {}).get("valueString")),
        )
    if not rows:
        return None
    table = DoseTable(rows, _ROUTES, None)
    return Limits(table, msgspec.structs.replace(vocabulary, ingredients=ingredients), names)


def _amount(part: Mapping[str, Any] | None, dimension: Dimension) -> Fraction | None:
    """A limit in mg/d or mg/mL; one in another kind of unit is none."""
    amount = read_quantity(part.get("valueQuantity"), {}).amount if part is not None else None
    return amount.value if amount is not None and amount.dimension == dimension else None
