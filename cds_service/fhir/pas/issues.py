"""What the gate finds wrong, and the one OperationOutcome that tells all of it (P093, P095)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cds_service.errors import CdsServiceError


class Issue(msgspec.Struct, frozen=True):
    """One finding. ``structure``: the content cannot be read as what it should be (400), not only a rule (422).

    ``rule`` is the row of the PAS checklist. ``expression`` is FHIRPath from ``Bundle``.
    """

    rule: str
    code: str  # IssueType
    text: str
    expression: str
    severity: str = "error"
    structure: bool = False


class RequestRefused(CdsServiceError):
    """A Bundle that breaks rules of PAS; each is one issue."""

    issue = "invalid"

    def __init__(self, issues: Sequence[Issue]) -> None:
        """``issues``: at least one error."""
        super().__init__(issues[0].text, expression=issues[0].expression)
        self.issues = tuple(issues)

    @property
    def structural(self) -> bool:
        """Whether any of them is about structure."""
        return any(each.structure for each in self.issues)


def outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    """One OperationOutcome."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": each.severity,
                "code": each.code,
                "details": {"text": each.text},
                "diagnostics": each.rule,
                "expression": [each.expression],
            }
            if each.rule
            else {
                "severity": each.severity,
                "code": each.code,
                "details": {"text": each.text},
                **({"expression": [each.expression]} if each.expression else {}),
            }
            for each in issues
        ],
    }
