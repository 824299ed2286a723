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
        held = self._invariants()
        if not all(held):
            raise ValueError(f"coverage answer breaks {_RULES[held.index(False)]}")

    def _invariants(self) -> tuple[bool, ...]:
        covered, pa_needed, doc_needed, reasons = self.covered, self.pa_needed, self.doc_needed, bool(self.reasons)
        conditional = (
            covered is Covered.CONDITIONAL or pa_needed is PaNeeded.CONDITIONAL or doc_needed is DocNeeded.CONDITIONAL
        )
        settled = covered is Covered.NOT_COVERED or pa_needed is PaNeeded.SATISFIED or pa_needed is PaNeeded.NO_AUTH
        indeterminate = covered is Covered.INDETERMINATE or pa_needed is PaNeeded.INDETERMINATE
        return (
            not self.questionnaires or doc_needed is not None,
            (pa_needed is None) == (covered is Covered.NOT_COVERED),
            bool(self.info_needed) == conditional,
            not (settled and DocPurpose.WITH_PA in self.doc_purpose),
            bool(self.satisfied_pa_id) == (pa_needed is PaNeeded.SATISFIED),
            reasons or InfoNeeded.OTHER not in self.info_needed,
            all(bool(reason.text.strip()) for reason in self.reasons),
            reasons or not self.doc_purpose,
            reasons or not indeterminate,
            not self.doc_purpose or doc_needed is not None,
            all("|" in canonical for canonical in self.questionnaires),
        )


_RULES = (
    "q1: questionnaire only with doc-needed",
    "q2: pa-needed exactly when not not-covered",
    "q3: info-needed exactly when conditional",
    "q4: nothing is documented for an authorization that is not needed",
    "q5: satisfied-pa-id exactly when satisfied",
    "q6: OTH needs a reason",
    "q7: every reason has text",
    "q8: doc-purpose needs a reason",
    "q9: indeterminate needs a reason",
    "doc-purpose only with doc-needed",
    "questionnaires are versioned",
)
