"""OperationOutcome for refusals and failures (cds-hooks-crd 62, 109-115)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def operation_outcome(issues: Iterable[tuple[str, str, str]], *, severity: str = "error") -> dict[str, Any]:
    """One resource for all ``issues``: (IssueType code, text for the caller, element path or "").

    The texts come from our own errors, which never repeat input. Raises ValueError without an issue: the resource
    needs one.
    """
    rendered = [_issue(*issue, severity) for issue in issues]
    if not rendered:
        raise ValueError("an OperationOutcome needs an issue")
    return {"resourceType": "OperationOutcome", "issue": rendered}


def _issue(code: str, diagnostics: str, expression: str, severity: str) -> dict[str, Any]:
    issue: dict[str, Any] = {"severity": severity, "code": code, "diagnostics": diagnostics}
    if expression:
        issue["expression"] = [expression]
    return issue
