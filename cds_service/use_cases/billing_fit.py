"""Whether what a line bills belongs to what was ordered: its codes, and the number of its units (decisions 6).

What cannot be compared does not fit: an approval names code and quantity, so both must be known to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from cds_service.domain.billing import Crosswalk
from cds_service.domain.order import Order
from cds_service.domain.prior_auth import LineKind
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import Vocabulary
from cds_service.fhir.drug_words import speaks_of_another, words_of
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.request import RequestedLine

# Words and codes for "so many billing units"; a quantity in anything else (mg, vials) is another number.
_BILLING_UNITS: Final = frozenset(
    {"", "un", "unit", "units", "billing unit", "billing units", "each", "ea", "1", "{unit}"}
)


def code_fits(
    crosswalk: Crosswalk, vocabulary: Vocabulary, line: RequestedLine, kind: LineKind, order: Order, as_of: date
) -> bool:
    """Every code of the line names what is ordered. A type of service (X12 1365) names nothing, and fits.

    A modifier changes what a code means, a detail is a service of its own, and words may name another drug: none fits.
    """
    if any(line.raw.get(key) for key in ("modifier", "detail")):
        return False
    parts = order.solution.parts if order.solution is not None else ()
    if speaks_of_another(words_of(line.raw.get("productOrService")), (), parts, vocabulary):
        return False
    named = [(_family(system), code) for system, code in line.services if system != systems.SERVICE_TYPE]
    if len({family for family, _ in named}) < len(set(named)):
        return False  # two codes of one list: it is not clear which is asked for
    if kind is LineKind.DRUG:
        drugs = [part.name for part in order.solution.drugs() if part.name] if order.solution else []
        return line.stated and all(
            family == systems.HCPCS and crosswalk.fits(code, drugs, as_of) is True for family, code in named
        )
    return all(_ordered(vocabulary, each, order) for each in named)


def classified_as_advised(crosswalk: Crosswalk, line: RequestedLine, advised: Sequence[str]) -> bool:
    """A product's own code does not bill what unclassified codes alone do, such as what was compounded."""
    own = crosswalk.fits(line.code, (), line.start or date.min) is not None and line.code not in crosswalk.unclassified
    return not (own and advised and crosswalk.unclassified.issuperset(advised))


def _family(system: str) -> str:
    return systems.HCPCS if system == systems.HCPCS_OF_PAS else system


def _ordered(vocabulary: Vocabulary, named: tuple[str, str], order: Order) -> bool:
    """The order has this code; or none of that list, and a value set holds the line's code and the order's."""
    held = [(_family(each.system), each.code) for each in order.codes]
    if any(family == named[0] for family, _ in held):
        return named in held
    code = (Code(*named), *((Code(systems.HCPCS_OF_PAS, named[1]),) if named[0] == systems.HCPCS else ()))
    return any(
        vocabulary.holds(name, code) is not None and vocabulary.holds(name, order.codes) is not None
        for name in vocabulary.value_sets
    )


def quantity_fits(
    line: RequestedLine, kind: LineKind, most_units: int | None, period: tuple[date, date] | None
) -> bool:
    """The number of units is none at all, or one that dose and period come to; of a procedure or pump one."""
    if not line.quantity_stated:
        return True
    if line.quantity is None or line.quantity <= 0 or not _in_billing_units(line.units):
        return False
    if kind is LineKind.DRUG:
        return most_units is not None and line.quantity <= most_units
    if kind is LineKind.REFILL and period is not None:
        return line.quantity <= (period[1] - period[0]).days + 1
    return line.quantity <= 1


def _in_billing_units(words: Sequence[str]) -> bool:
    return all(each.strip().lower() in _BILLING_UNITS for each in words)
