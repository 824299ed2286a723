"""The coverage-information extension in its CRD 2.0 and 2.2 forms (cds-hooks-crd B.7, trap T1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cds_service.domain.coverage_answer import (
    Amount,
    CoverageAnswer,
    Detail,
    DetailCode,
    Reason,
    Span,
)
from cds_service.domain.quantity import decimal_text
from cds_service.fhir.systems import UCUM

URL = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
CRD_TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
CRD_DETAIL = "http://terminology.hl7.org/CodeSystem/crd-coverage-detail"
RESOURCE_TYPES = frozenset({"MedicationRequest", "ServiceRequest", "DeviceRequest"})  # those that we judge

_CATEGORY = {
    DetailCode.ALLOWED_QUANTITY: "cat-limitation",
    DetailCode.ALLOWED_PERIOD: "cat-limitation",
    DetailCode.INSTRUCTIONS: "cat-other",
}
_IN_2_0 = frozenset({DetailCode.ALLOWED_QUANTITY, DetailCode.ALLOWED_PERIOD})  # codes that CRD 2.0.1 has

Part = dict[str, Any]


def render_coverage_information(
    answer: CoverageAnswer, *, coverage: str, assertion_id: str, day: str, version: str
) -> dict[str, Any]:
    """The extension as plain JSON values.

    ``coverage`` is the reference to the Coverage, ``day`` the ISO date of the answer, ``version`` "2.0" or "2.2".
    Raises ValueError where 2.0 has no word for the answer (indeterminate), KeyError for another version.
    """
    parts = [_part("coverage", "valueReference", {"reference": coverage})]
    parts += _codes(answer)
    parts += _FORMS[version](answer)
    parts += [_part("questionnaire", "valueCanonical", canonical) for canonical in answer.questionnaires]
    parts += [_part("date", "valueDate", day), _part("coverage-assertion-id", "valueString", assertion_id)]
    if answer.satisfied_pa_id:
        parts.append(_part("satisfied-pa-id", "valueString", answer.satisfied_pa_id))
    if answer.expiry is not None and version != "2.0":
        parts.append(_part("expiry-date", "valueDate", answer.expiry.isoformat()))
    return {"url": URL, "extension": parts}


def _part(url: str, kind: str, value: object) -> Part:
    return {"url": url, kind: value}


def _codes(answer: CoverageAnswer) -> list[Part]:
    """The plain codes, spelt alike in all versions."""
    parts = [_part("covered", "valueCode", answer.covered.value)]
    if answer.pa_needed is not None:
        parts.append(_part("pa-needed", "valueCode", answer.pa_needed.value))
    if answer.doc_needed is not None:
        parts.append(_part("doc-needed", "valueCode", answer.doc_needed.value))
    parts += [_part("doc-purpose", "valueCode", purpose.value) for purpose in answer.doc_purpose]
    parts += [_part("info-needed", "valueCode", info.value) for info in answer.info_needed]
    parts += [_part("billingCode", "valueCoding", {"system": c.system, "code": c.code}) for c in answer.billing]
    return parts


def _form_2_0(answer: CoverageAnswer) -> list[Part]:
    if "indeterminate" in {answer.covered.value, answer.pa_needed and answer.pa_needed.value}:
        raise ValueError("CRD 2.0 has no indeterminate answer")
    parts = [_part("reason", "valueCodeableConcept", {"text": reason.text}) for reason in answer.reasons]
    return parts + [_detail(detail, _detail_code_2_0(detail)) for detail in answer.details]


def _form_2_2(answer: CoverageAnswer) -> list[Part]:
    parts = [_part("reason", "valueCodeableConcept", _reason_2_2(reason)) for reason in answer.reasons]
    for detail in answer.details:
        coded = _part("code", "valueCodeableConcept", {"coding": [{"system": CRD_DETAIL, "code": detail.code.value}]})
        parts.append(_detail(detail, _part("category", "valueCode", _CATEGORY[detail.code]), coded))
    return parts


_FORMS: Mapping[str, Callable[[CoverageAnswer], list[Part]]] = {"2.0": _form_2_0, "2.2": _form_2_2}


def _reason_2_2(reason: Reason) -> dict[str, Any]:
    if reason.code is None:
        return {"text": reason.text}
    return {"coding": [{"system": CRD_TEMP, "code": reason.code.value}], "text": reason.text}


def _detail_code_2_0(detail: Detail) -> Part:
    if detail.code in _IN_2_0:
        return _part("code", "valueCodeableConcept", {"coding": [{"system": CRD_TEMP, "code": detail.code.value}]})
    return _part("code", "valueCodeableConcept", {"text": detail.code.value})


def _detail(detail: Detail, *before: Part) -> Part:
    parts = [*before, _detail_value(detail.value)]
    if detail.qualification:
        parts.append(_part("qualification", "valueString", detail.qualification))
    return {"url": "detail", "extension": parts}


def _detail_value(value: str | Amount | Span) -> Part:
    if isinstance(value, str):
        return _part("value", "valueString", value)
    if isinstance(value, Amount):
        number = msgspec.Raw(decimal_text(value.value).encode())
        return _part(
            "value", "valueQuantity", {"value": number, "unit": value.unit, "system": UCUM, "code": value.unit}
        )
    period = {"start": value.start.isoformat()}
    if value.end is not None:
        period["end"] = value.end.isoformat()
    return _part("value", "valuePeriod", period)
