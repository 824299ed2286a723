"""The determination document, as in the contract: what ``evaluate`` prints and the store keeps."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from cds_service.domain.determination import CriterionResult, Determination, DoseResult, OrderDetermination
from cds_service.domain.quantity import decimal_text

MG_PER_DAY = "mg/d"
MG_PER_ML = "mg/mL"


def document(determination: Determination) -> dict[str, Any]:
    """The document as JSON values. Amounts are decimal strings in mg/d and mg/mL; unknown scope is "unknown"."""
    return {
        "as_of": determination.as_of,
        "policy": {
            "id": determination.policy_id,
            "version": determination.policy_version,
            "digest": determination.policy_digest,
        },
        "orders": [_order(order) for order in determination.orders],
    }


def _order(order: OrderDetermination) -> dict[str, Any]:
    return {
        "order": order.order,
        "in_scope": "unknown" if order.in_scope is None else order.in_scope,
        "program": order.program.value,
        "request_type": order.request_type,
        "criteria": {name: _criterion(result) for name, result in order.criteria.items()},
        "sections": {name: status.value for name, status in order.sections.items()},
        "decision": order.decision.value,
        "approval_duration": order.approval_duration,
        "dose": [_dose(result) for result in order.dose],
        "tier": {"tier": order.tier.tier, "caveats": order.tier.caveats},
        "icd": {"status": order.icd.status, "codes": order.icd.codes},
        "billing": order.billing,
        "missing_facts": order.missing_facts,
        "flags": [{"code": flag.code, "subject": flag.subject} for flag in order.flags],
    }


def _criterion(result: CriterionResult) -> dict[str, Any]:
    return {
        "status": result.status.value,
        "evidence": [{"source": each.source, "date": each.date, "shows": each.shows} for each in result.evidence],
        "missing": result.missing,
    }


def _dose(result: DoseResult) -> dict[str, Any]:
    return {
        "ingredient": result.ingredient,
        "rxcui": result.rxcui,
        "orders": result.orders,
        "daily": _amount(result.daily, MG_PER_DAY),
        "daily_limit": _amount(result.daily_limit, MG_PER_DAY),
        "daily_verdict": result.daily_verdict.value,
        "concentration": _amount(result.concentration, MG_PER_ML),
        "concentration_limit": _amount(result.concentration_limit, MG_PER_ML),
        "concentration_verdict": result.concentration_verdict.value,
        "steps": result.steps,
    }


def _amount(value: Fraction | None, unit: str) -> dict[str, str] | None:
    return None if value is None else {"value": decimal_text(value), "unit": unit}
