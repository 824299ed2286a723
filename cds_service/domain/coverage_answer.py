"""The payer's answer for one order under one Coverage: the content of coverage-information, whatever its version.

An answer that breaks one of the extension's invariants cannot be built. Where CRD versions disagree, the form that
is legal in all of them is the only one allowed (cds-hooks-crd 128-137).
"""

from __future__ import annotations

from datetime import date
from enum import Enum
from fractions import Fraction

import msgspec

from cds_service.domain.record import Code


class Covered(Enum):
    """Whether the benefit covers the order."""

    COVERED = "covered"
    NOT_COVERED = "not-covered"
    CONDITIONAL = "conditional"
    INDETERMINATE = "indeterminate"  # from CRD 2.2


class PaNeeded(Enum):
    """Whether prior authorization is needed."""

    NO_AUTH = "no-auth"
    AUTH_NEEDED = "auth-needed"
    SATISFIED = "satisfied"
    CONDITIONAL = "conditional"
    INDETERMINATE = "indeterminate"  # from CRD 2.2


class DocNeeded(Enum):
    """Whose documentation is needed."""

    CLINICAL = "clinical"
    ADMIN = "admin"
    CONDITIONAL = "conditional"


class DocPurpose(Enum):
    """What the documentation is for."""

    WITH_PA = "withpa"
    WITH_CLAIM = "withclaim"
    WITH_ORDER = "withorder"
    RETAIN = "retain-doc"


class InfoNeeded(Enum):
    """What the answer depends on while it is conditional."""

    PERFORMER = "performer"
    LOCATION = "location"
    TIMEFRAME = "timeframe"
    OTHER = "OTH"


class ReasonCode(Enum):
    """Reasons that have a code from CRD 2.2; before, their text alone is sent."""

    NO_ACTIVE_COVERAGE = "no-active-coverage"
    TECHNICAL = "technical"


class Reason(msgspec.Struct, frozen=True):
    """Why the answer is what it is, in a short sentence."""

    text: str
    code: ReasonCode | None = None


class Amount(msgspec.Struct, frozen=True):
    """A number with its UCUM unit."""

    value: Fraction
    unit: str


class Span(msgspec.Struct, frozen=True):
    """Days, both included; ``end`` None while open."""

    start: date
    end: date | None


class DetailCode(Enum):
    """Kinds of detail that we state."""

    ALLOWED_QUANTITY = "allowed-quantity"
    ALLOWED_PERIOD = "allowed-period"
    INSTRUCTIONS = "instructions"


class Detail(msgspec.Struct, frozen=True):
    """A limit under which the answer holds, or an instruction."""

    code: DetailCode
    value: str | Amount | Span
    qualification: str = ""


class CoverageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. Raises ValueError, naming the invariant, for a combination that CRD forbids."""

    covered: Covered
    pa_needed: PaNeeded | None
    doc_needed: DocNeeded | None = None
    doc_purpose: tuple[DocPurpose, ...] = ()
    info_needed: tuple[InfoNeeded, ...] = ()
    billing: tuple[Code, ...] = ()
    reasons: tuple[Reason, ...] = ()
    details: tuple[Detail, ...] = ()
    questionnaires: tuple[str, ...] = ()  # versioned canonicals
    satisfied_pa_id: str = ""
    expiry: date | None = None

    def __post_init__(self) -> None:
        """Hold the answer against the invariants; cheap enough for every call."""
        for name, holds in self._invariants():
            if not holds:
                raise ValueError(f"coverage answer breaks {name}")

    def _invariants(self) -> tuple[tuple[str, bool], ...]:
        words = {self.covered.value, self.pa_needed and self.pa_needed.value, self.doc_needed and self.doc_needed.value}
        with_pa = DocPurpose.WITH_PA in self.doc_purpose
        settled = self.pa_needed in {PaNeeded.SATISFIED, PaNeeded.NO_AUTH} or self.covered is Covered.NOT_COVERED
        return (
            ("q1: questionnaire only with doc-needed", not self.questionnaires or self.doc_needed is not None),
            (
                "q2: pa-needed exactly when not not-covered",
                (self.pa_needed is None) == (self.covered is Covered.NOT_COVERED),
            ),
            ("q3: info-needed exactly when conditional", bool(self.info_needed) == ("conditional" in words)),
            ("q4: nothing is documented for an authorization that is not needed", not (settled and with_pa)),
            (
                "q5: satisfied-pa-id exactly when satisfied",
                bool(self.satisfied_pa_id) == (self.pa_needed is PaNeeded.SATISFIED),
            ),
            ("q6: OTH needs a reason", InfoNeeded.OTHER not in self.info_needed or bool(self.reasons)),
            ("q7: every reason has text", all(reason.text.strip() for reason in self.reasons)),
            ("q8: doc-purpose needs a reason", not self.doc_purpose or bool(self.reasons)),
            ("q9: indeterminate needs a reason", "indeterminate" not in words or bool(self.reasons)),
            ("purpose: doc-purpose only with doc-needed", not self.doc_purpose or self.doc_needed is not None),
            ("canonical: questionnaires are versioned", all("|" in each for each in self.questionnaires)),
        )
