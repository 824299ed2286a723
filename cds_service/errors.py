"""Errors that a caller can meet. Each class knows its FHIR issue code; none knows HTTP.

Expected clinical absence is a value, never an error. An error's text names what, where and what is allowed, and
never repeats input: what a sender wrote may be about a patient.
"""

from __future__ import annotations


class CdsServiceError(Exception):
    """Something was refused."""

    issue = "processing"

    def __init__(self, diagnostics: str, *, expression: str = "") -> None:
        """``diagnostics`` is for the caller; ``expression`` is the element concerned, in dots."""
        super().__init__(diagnostics)
        self.diagnostics = diagnostics
        self.expression = expression


class MalformedRequest(CdsServiceError):
    """The request is not JSON, or breaks CDS Hooks or base FHIR (cds-hooks-crd 15, 111)."""

    issue = "structure"


class UnknownContext(MalformedRequest):
    """A documentation context, questionnaire or value set that is not ours, or of another policy (PS-07)."""

    issue = "not-found"


class AnswersNotUsable(MalformedRequest):
    """Answers of a form that are not of its kind; ``issues`` are (code, text, element) each (PS-29)."""

    issue = "value"

    def __init__(self, issues: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__(issues[0][1], expression=issues[0][2])
        self.issues = issues


class RuleBroken(CdsServiceError):
    """Valid JSON, hooks and FHIR that breaks a CRD rule (cds-hooks-crd 111)."""

    issue = "business-rule"


class TooLarge(CdsServiceError):
    """More than the configured bytes or entries."""

    issue = "too-long"


class PatientMismatch(MalformedRequest):
    """The request speaks of more than one patient (cds-hooks-crd 21, reliability 65-72)."""

    issue = "conflict"


class CoverageNotUsable(CdsServiceError):
    """Queried: no Coverage, a foreign one, or several that cannot be told apart (cds-hooks-crd 112)."""

    issue = "not-found"


class PrefetchMissing(CdsServiceError):
    """Required data was neither prefetched nor readable (cds-hooks-crd 40, 113)."""

    issue = "required"


class NotAuthenticated(CdsServiceError):
    """The caller is not known. The text is the same whatever was wrong; ``reason`` is for the log alone."""

    issue = "login"

    def __init__(self, reason: str) -> None:
        """``reason`` is a word of a closed list, safe for logs and metrics."""
        super().__init__("client authentication failed")
        self.reason = reason


class NotAllowed(CdsServiceError):
    """A known client that may not do this."""

    issue = "forbidden"


class NotFound(CdsServiceError):
    """No such service or resource."""

    issue = "not-found"


class Conflict(CdsServiceError):
    """It was decided otherwise meanwhile, or stands already with another content: read again."""

    issue = "conflict"


class Overloaded(CdsServiceError):
    """Shed to keep accepted calls within their deadline."""

    issue = "throttled"


class Unanswerable(CdsServiceError):
    """Something of ours failed, and there is not enough at hand to say even that in an answer."""

    issue = "transient"


class StoreUnavailable(CdsServiceError):
    """What was said could not be written down, so it may not be said."""

    issue = "transient"

    def __init__(self, diagnostics: str, *, reason: str = "other") -> None:
        """``reason`` is a word of a closed list (``adapters.sql.failures.Failure``), safe for logs and metrics."""
        super().__init__(diagnostics)
        self.reason = reason


class ConfigurationError(CdsServiceError):
    """A setting or file of the operator's is wrong: names file, line, what was found and what is allowed."""

    issue = "invalid"
