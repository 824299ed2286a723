"""What a case file may expect of a determination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.domain.determination import OrderDetermination


def _dose(result: OrderDetermination, wanted: Any) -> Any:
    if not result.dose:
        return "none"
    return {each.ingredient: [each.daily_verdict.value, each.concentration_verdict.value] for each in result.dose}


def shown(result: OrderDetermination, expect: Mapping[str, Any]) -> dict[str, Any]:
    """What the determination says of everything that a case expects."""
    return {name: _SEEN[name](result, wanted) for name, wanted in expect.items()}


_SEEN = {
    "decision": lambda result, _: result.decision.value,
    "approval_duration": lambda result, _: result.approval_duration,
    "request_type": lambda result, _: result.request_type,
    "in_scope": lambda result, _: {True: "yes", False: "no", None: "unknown"}[result.in_scope],
    "criteria": lambda result, wanted: {name: result.criteria[name].status.value for name in wanted},
    "sections": lambda result, wanted: {name: result.sections[name].value for name in wanted},
    "missing": lambda result, _: list(result.missing_facts),
    "flags": lambda result, _: [[each.code, each.subject] for each in result.flags],
    "tier": lambda result, _: result.tier.tier,
    "caveats": lambda result, _: list(result.tier.caveats),
    "icd": lambda result, _: {"status": result.icd.status, "codes": list(result.icd.codes)},
    "billing": lambda result, _: list(result.billing),
    "rationale_on_file": lambda result, _: "yes" if result.rationale_on_file else "no",
    "dose": _dose,
}
