"""Prepares a guideline that was read for determinations: everything turned round so that it is only looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import product

from cds_service.domain.record import Code
from cds_service.domain.vocabulary import Vocabulary
from cds_service.policy.codes import index
from cds_service.policy.facts import FactPlan
from cds_service.policy.model import Annotation, Guideline, Regimen
from cds_service.policy.parse_criteria import CriteriaReader
from cds_service.policy.plan import Plan


def prepare(
    guideline: Guideline, vocabulary: Vocabulary, facts: Mapping[str, FactPlan], criteria: CriteriaReader
) -> Plan:
    """The plan of one guideline."""
    scope = guideline.scope
    declared = guideline.facts.values()
    reported = {guideline.reported_while_unknown, *(each.reports for each in guideline.request_types.values())}
    return Plan(
        codes=index(vocabulary.value_sets),
        facts=facts,
        position={name: number for number, name in enumerate(guideline.facts)},
        asked_once=frozenset(fact.name for fact in declared if fact.asked_once),
        advisory=frozenset(fact.name for fact in declared if fact.advisory),
        types={fact.name: (("QuestionnaireResponse", *fact.types), fact.types_if_served) for fact in declared},
        steps={sections: criteria.steps(guideline.stem or "", sections) for sections in reported},
        icd={each.code.upper().replace(".", ""): each for each in guideline.icd},
        hcpcs=frozenset(Code(uri, each.code) for each in guideline.hcpcs for uri in vocabulary.systems["hcpcs"]),
        specific=frozenset(scope.specific_codes),
        generic=frozenset(scope.generic_codes),
        beside=frozenset(scope.beside_codes),
        long_term=frozenset(scope.long_term_codes),
        long_term_reasons=frozenset(scope.long_term_reasons),
        injectable=frozenset(scope.injectable_forms),
        annotation_flags=_flags_by_drug(guideline.annotations),
        regimen_flags=_flags_by_regimen(guideline.regimens),
        strengths=_strengths(vocabulary),
    )


def _flags_by_regimen(regimens: Iterable[Regimen]) -> dict[frozenset[str], tuple[str, ...]]:
    return {
        frozenset(combination): regimen.flags
        for regimen in regimens
        for combination in product(*regimen.one_from_each)
        if regimen.flags
    }


def _strengths(vocabulary: Vocabulary) -> dict[str, frozenset[Fraction]]:
    """Concentrations on the market: of the ingredient tables and of the products."""
    found = {each.name: set(each.strengths) for each in vocabulary.ingredients.values()}
    for commercial in vocabulary.products.values():
        for part in commercial.ingredients:
            if part.mg_per_ml is not None and found.get(part.ingredient):
                found[part.ingredient].add(part.mg_per_ml)
    return {name: frozenset(strengths) for name, strengths in found.items()}


def _flags_by_drug(annotations: Iterable[Annotation]) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for each in annotations:
        if each.flag:
            for drug in each.drugs:
                found[drug] = (*found.get(drug, ()), (each.flag, each.subject))
    return found
