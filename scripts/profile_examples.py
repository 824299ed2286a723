"""Examples of what the hook answers, valid ones and deliberately broken ones, made by the codecs themselves.

An invalid example is a valid one with one thing changed; its name begins with the rule that it breaks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.coverage_answer import (
    Amount,
    CoverageAnswer,
    Covered,
    Detail,
    DetailCode,
    DocNeeded,
    DocPurpose,
    InfoNeeded,
    PaNeeded,
    Reason,
    ReasonCode,
    Span,
)
from cds_service.domain.record import Code
from cds_service.fhir.coverage_information import URL, render_coverage_information
from cds_service.fhir.json import parse
from cds_service.fhir.operation_outcome import operation_outcome
from cds_service.fhir.systems import OUR_BASE, RXNORM, SNOMED, UCUM
from cds_service.policy.model import Guideline

Resource = dict[str, Any]
_DAY = "2026-03-02"
_HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"


def examples(guideline: Guideline) -> Iterator[tuple[str, Resource]]:
    """(name, resource) of every example."""
    valid = dict(_valid(guideline))
    yield from ((f"valid/{name}", resource) for name, resource in valid.items())
    yield from ((f"invalid/{name}", resource) for name, resource in _invalid(valid))


def _valid(guideline: Guideline) -> Iterator[tuple[str, Resource]]:
    for name, order, answer in _answers(guideline):
        for version, label in (("2.0", "crd-2.0.1"), ("2.2", "crd-2.2")):
            if version == "2.0" and answer.covered is Covered.INDETERMINATE:
                continue
            yield f"{label}-{name}", _with(order, answer, version)
    yield (
        "operation-outcome-coverage-not-readable",
        operation_outcome(
            [("required", "Coverage was neither in prefetch.coverage nor readable", "prefetch.coverage")]
        ),
    )
    yield "operation-outcome-login", operation_outcome([("login", "client authentication failed", "")])
    yield "questionnaire-response", _response(guideline)


def _answers(guideline: Guideline) -> Iterator[tuple[str, Resource, CoverageAnswer]]:
    questionnaire = (f"{guideline.canonical}|{guideline.version}",)
    drug, pump = _drug_order(), _service_order()
    yield "ready-to-submit", drug, CoverageAnswer(covered=Covered.COVERED, pa_needed=PaNeeded.AUTH_NEEDED)
    yield (
        "facts-missing",
        drug,
        CoverageAnswer(
            covered=Covered.COVERED,
            pa_needed=PaNeeded.AUTH_NEEDED,
            doc_needed=DocNeeded.CLINICAL,
            doc_purpose=(DocPurpose.WITH_PA,),
            reasons=(Reason(f"Facts that guideline {guideline.id} asks for are not in the chart."),),
            questionnaires=questionnaire,
            billing=(Code(_HCPCS, "J3490"),),
        ),
    )
    satisfied = CoverageAnswer(
        covered=Covered.COVERED,
        pa_needed=PaNeeded.SATISFIED,
        satisfied_pa_id="PA-0001",
        expiry=date(2027, 3, 1),
        details=(
            Detail(DetailCode.ALLOWED_PERIOD, Span(date(2026, 3, 2), date(2027, 3, 1))),
            Detail(DetailCode.ALLOWED_QUANTITY, Amount(Fraction(15), "mg/d"), "morphine, daily amount"),
        ),
    )
    yield "authorized", drug, satisfied
    yield "authorized-pump", pump, satisfied
    ended = Reason("The member's coverage is not active on this date.", ReasonCode.NO_ACTIVE_COVERAGE)
    yield "not-in-force", drug, CoverageAnswer(covered=Covered.NOT_COVERED, pa_needed=None, reasons=(ended,))
    yield (
        "other-program",
        drug,
        CoverageAnswer(
            covered=Covered.CONDITIONAL,
            pa_needed=PaNeeded.CONDITIONAL,
            info_needed=(InfoNeeded.OTHER,),
            reasons=(Reason("Federal Employee Program: the FEP guidelines apply."),),
            details=(Detail(DetailCode.INSTRUCTIONS, "Federal Employee Program: the FEP guidelines apply."),),
        ),
    )
    technical = Reason("The answer could not be prepared for technical reasons.", ReasonCode.TECHNICAL)
    yield (
        "technical",
        drug,
        CoverageAnswer(covered=Covered.INDETERMINATE, pa_needed=PaNeeded.INDETERMINATE, reasons=(technical,)),
    )


def _with(order: Resource, answer: CoverageAnswer, version: str) -> Resource:
    information = render_coverage_information(
        answer,
        coverage="Coverage/example",
        assertion_id="5f0c7d7e-6c0a-5b0e-9a54-0c5b1f3f7d10",
        day=_DAY,
        version=version,
    )
    plain: Resource = parse(msgspec.json.encode(information), max_bytes=100_000)
    return {**order, "extension": [plain]}


def _drug_order() -> Resource:
    concentration = {"numerator": _quantity(20, "mg"), "denominator": _quantity(1, "mL")}
    morphine = {"coding": [{"system": RXNORM, "code": "7052", "display": "morphine"}]}
    return {
        "resourceType": "MedicationRequest",
        "id": "example",
        "contained": [
            {
                "resourceType": "Medication",
                "id": "solution",
                "code": {"text": "morphine 20 mg/mL, pump solution"},
                "ingredient": [{"itemCodeableConcept": morphine, "strength": concentration}],
            }
        ],
        "status": "draft",
        "intent": "order",
        "medicationReference": {"reference": "#solution"},
        "subject": {"reference": "Patient/example"},
        "authoredOn": _DAY,
        "requester": {"reference": "Practitioner/example"},
        "insurance": [{"reference": "Coverage/example"}],
        "dosageInstruction": [
            {
                "route": {"coding": [{"system": SNOMED, "code": "72607000", "display": "Intrathecal route"}]},
                "doseAndRate": [{"rateQuantity": _quantity(Fraction(1, 2), "mL/d")}],
            }
        ],
    }


def _service_order() -> Resource:
    return {
        "resourceType": "ServiceRequest",
        "id": "example-pump",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "62362"}]},
        "subject": {"reference": "Patient/example"},
        "authoredOn": _DAY,
        "requester": {"reference": "Practitioner/example"},
        "insurance": [{"reference": "Coverage/example"}],
    }


def _quantity(value: int | Fraction, unit: str) -> Resource:
    return {"value": int(value) if value == int(value) else float(value), "unit": unit, "system": UCUM, "code": unit}


def _response(guideline: Guideline) -> Resource:
    answers = {
        "request_type": _coded("trial"),
        "severe_chronic_intractable_pain": _coded("yes"),
        "life_expectancy_ge_3_months": _coded("yes"),
        "noninvasive_trial_outcome": _coded("failure"),
        "noninvasive_trial_weeks": {"valueDecimal": 8},
        "attestation_name": {"valueString": "Dr. Example"},
        "attestation_date": {"valueDate": _DAY},
    }
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "example",
        "questionnaire": f"{guideline.canonical}|{guideline.version}",
        "status": "completed",
        "subject": {"reference": "Patient/example"},
        "authored": f"{_DAY}T09:00:00Z",
        "author": {"reference": "Practitioner/example"},
        "item": [{"linkId": name, "answer": [answer]} for name, answer in answers.items()],
    }


def _coded(code: str) -> Resource:
    return {"valueCoding": {"system": f"{OUR_BASE}/CodeSystem/coverage-answers", "code": code}}


def _invalid(valid: dict[str, Resource]) -> Iterator[tuple[str, Resource]]:
    missing, ready = valid["crd-2.2-facts-missing"], valid["crd-2.2-ready-to-submit"]
    authorized, ended = valid["crd-2.2-authorized"], valid["crd-2.2-not-in-force"]
    other, technical = valid["crd-2.2-other-program"], valid["crd-2.2-technical"]
    yield "crd-ci-q1-questionnaire-without-doc-needed", _without(missing, "doc-needed")
    yield "crd-ci-q2-not-covered-with-pa-needed", _and(ended, {"url": "pa-needed", "valueCode": "auth-needed"})
    yield "crd-ci-q2-covered-without-pa-needed", _without(valid["crd-2.0.1-ready-to-submit"], "pa-needed")
    yield "crd-ci-q3-conditional-without-info-needed", _without(other, "info-needed")
    yield (
        "crd-ci-q4-satisfied-with-pa-documentation",
        _and(
            authorized,
            {"url": "doc-needed", "valueCode": "clinical"},
            {"url": "doc-purpose", "valueCode": "withpa"},
            {"url": "reason", "valueCodeableConcept": {"text": "Documentation."}},
        ),
    )
    yield "crd-ci-q5-satisfied-without-id", _without(authorized, "satisfied-pa-id")
    yield "crd-ci-q6-other-information-without-reason", _without(other, "reason")
    yield (
        "crd-ci-q7-reason-without-text",
        _and(_without(other, "reason"), {"url": "reason", "valueCodeableConcept": {"coding": [{"code": "because"}]}}),
    )
    yield "crd-ci-q8-doc-purpose-without-reason", _without(missing, "reason")
    yield "crd-ci-q9-indeterminate-without-reason", _without(technical, "reason")
    yield "crd-respci1-no-coverage-information", {key: value for key, value in ready.items() if key != "extension"}
    yield "profile-assertion-id-missing", _without(ready, "coverage-assertion-id")
    yield "profile-two-answers-of-covered", _and(ready, {"url": "covered", "valueCode": "conditional"})
    yield "profile-detail-without-category", valid["crd-2.0.1-authorized"]
    yield "model-unknown-status-element", {**ready, "statusses": "draft"}
    yield "model-outcome-without-code", {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}


def _information(order: Resource) -> Resource:
    copied: Resource = copy.deepcopy(order)
    return copied


def _parts(order: Resource) -> list[Resource]:
    parts: list[Resource] = next(held for held in order["extension"] if held["url"] == URL)["extension"]
    return parts


def _without(order: Resource, url: str) -> Resource:
    changed = _information(order)
    parts = _parts(changed)
    parts[:] = [part for part in parts if part["url"] != url]
    return changed


def _and(order: Resource, *more: Resource) -> Resource:
    changed = _information(order)
    _parts(changed).extend(more)
    return changed
