"""Prior authorization in domain words: cases, their versions, decisions per line, and what must happen with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum

import msgspec


class ReviewAction(Enum):
    """What was decided of one line; the value is the code of X12's list 306."""

    APPROVED = "A1"
    NOT_CERTIFIED = "A3"
    PENDED = "A4"
    MODIFIED = "A6"
    CANCELLED = "C"


FINAL = frozenset({ReviewAction.APPROVED, ReviewAction.NOT_CERTIFIED, ReviewAction.MODIFIED})
ADVERSE = frozenset({ReviewAction.NOT_CERTIFIED, ReviewAction.MODIFIED})  # gives less than was asked for


class CaseState(Enum):
    """Where a case stands."""

    PENDED = "pended"  # at least one line waits for a decision
    DECIDED = "decided"
    CANCELLED = "cancelled"
    ERROR = "error"  # understood, and not to be decided here: another program, the pharmacy benefit ...


class LineKind(Enum):
    """What one line of a request asks for."""

    DRUG = "drug"
    REFILL = "refill"
    PROCEDURE = "procedure"
    PUMP = "pump"
    OTHER = "other"


class Reason(msgspec.Struct, frozen=True):
    """Why a line was decided so. ``criterion`` is an id of the guideline, ``provision`` a contract or label provision.

    ``code`` is the licensee's own code of X12's external list 886, "" where none is loaded.
    """

    text: str
    code: str = ""
    criterion: str = ""
    provision: str = ""


class Authorized(msgspec.Struct, frozen=True):
    """What was authorized of a line. ``daily``: drug -> exact mg per day as decimal text ("10", "0.4")."""

    start: date
    end: date
    daily: Mapping[str, str] = {}
    quantity: str = ""  # billing units as decimal text, "" where none is stated
    taper: str = ""  # how a dose comes down, where less than the current dose is authorized


class CaseLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a case as it stands now."""

    sequence: int
    kind: LineKind
    system: str  # of the billing code as submitted
    code: str
    text: str  # what a person calls it
    order: str = ""  # "MedicationRequest/x": the request that the line names
    drugs: tuple[str, ...] = ()  # guideline names
    route: str = ""  # RouteGroup value
    daily: Mapping[str, str] = {}  # drug -> requested mg per day
    current_daily: Mapping[str, str] = {}  # drug -> mg per day of the running orders, where the request shows them
    action: ReviewAction = ReviewAction.PENDED
    number: str = ""  # the authorization's
    former: str = ""  # number given before: in force while this waits, taken back when it is decided, never given again
    reference: str = ""  # administration reference number: of what is pended or not certified
    reasons: tuple[Reason, ...] = ()
    authorized: Authorized | None = None
    trace_numbers: tuple[str, ...] = ()
    issued: date | None = None
    by_person: bool = False
    cancelled: bool = False


class CaseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue and the next version need without reading the request again. Holds PHI: never logged."""

    patient_name: str
    birth_date: str
    requester: str
    lines: tuple[CaseLine, ...]
    diagnoses: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()  # facts that are still wanted, in questionnaire order
    context: str = ""  # DTR context (assertion id) under which they are asked
    note: str = ""  # of the reviewer, to the requester
    version: str = "2.2"  # PAS version of the base that it came by
    extended: bool = False  # the time to decide was extended


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request for authorization, however often it is updated."""

    id: str
    tracking_number: str
    sender: str
    provider_organization: str
    ordering_npi: str
    rendering_npi: str
    member_id: str
    patient_key: str
    program: str
    benefit: str  # medical | pharmacy | unknown
    expedited: bool
    has_drug: bool
    request_type: str
    state: CaseState
    summary: CaseSummary
    received: datetime
    due: datetime | None
    decided: datetime | None
    version: int
    assigned_to: str = ""
    service_end: datetime | None = None


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a case. ``response`` is the Bundle byte for byte as it was, or will be, sent and delivered."""

    case_id: str
    n: int
    kind: str  # submit | update | cancel | renewal | decision | information | extension
    at: datetime
    request: bytes | None
    request_sha256: str
    response: bytes
    response_sha256: str
    policy_id: str
    policy_version: str
    policy_digest: str
    trace: bytes
    actor: str
    human: bool


class Submission(msgspec.Struct, frozen=True):
    """That a sender's Bundle was answered, and by which version."""

    sender: str
    bundle_identifier: str
    body_sha256: str
    case_id: str
    n: int


class Number(msgspec.Struct, frozen=True):
    """A number by which a case is found. ``kind``: authorization, reference, trace or claim."""

    number: str
    kind: str
    sequence: int


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what with which record; ``detail`` holds no clinical content."""

    at: datetime
    actor: str
    role: str  # client | engine | nurse | pharmacist | physician | policy_owner | auditor | operator | worker
    action: str
    subject: str  # "case/<id>", "subscription/<id>", "outbox/<id>" ...
    detail: Mapping[str, str | int | bool | None] = {}


class CaseEvent(msgspec.Struct, frozen=True):
    """One step of a case, the log from which figures are computed. ``kind``: received, decided, pended, extended ..."""

    at: datetime
    kind: str
    actor: str
    detail: Mapping[str, str | int | bool | None] = {}


class Reviewer(msgspec.Struct, frozen=True):
    """The person who decides."""

    id: str
    name: str
    role: str  # nurse | pharmacist | physician
    npi: str = ""


class LineDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person decides of one line; ``action`` A1, A3, A4 or A6."""

    sequence: int
    action: ReviewAction
    reason: Reason | None = None
    authorized: Authorized | None = None


class Extension(msgspec.Struct, frozen=True):
    """A reviewer takes more time for a pended case as it stood at ``version_seen``; the requester is told why."""

    case_id: str
    version_seen: int
    reviewer: Reviewer
    reason: str


class HumanDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A reviewer's decision on a pended case as it stood at ``version_seen``.

    ``wanted_facts``: more is asked for, the lines stay pended and the answer names these facts.
    """

    case_id: str
    version_seen: int
    reviewer: Reviewer
    items: tuple[LineDecision, ...]
    note: str = ""
    wanted_facts: tuple[str, ...] = ()
    seconded_by: Reviewer | None = None
