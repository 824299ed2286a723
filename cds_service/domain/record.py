"""The patient's chart in domain words: what a determination may rest on.

``cds_service.fhir.record`` builds a Record from FHIR; ``cds_service.policy`` reads it. Entries marked
entered-in-error or refuted never get here, nor entries of another patient. Dates are whole days in the
sender's own zone; a partial date is kept as its first day for starts and its last day for ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from fractions import Fraction

import msgspec


class Code(msgspec.Struct, frozen=True, order=True):
    """A coded concept: system URI and code, as sent."""

    system: str
    code: str


class Availability(Enum):
    """How completely one resource type of the chart could be seen."""

    COMPLETE = "complete"
    PARTIAL = "partial"  # truncated, a page not followed, or entries dropped by the patient gate
    NOT_READABLE = "not_readable"  # asked for and refused, failed or timed out
    NOT_ASKED = "not_asked"  # neither prefetched nor fetched


class Evidence(msgspec.Struct, frozen=True):
    """What one resource shows for a status (contract: evidence)."""

    source: str  # "Condition/x", relative where the server is known
    date: str | None
    shows: str


class Condition(msgspec.Struct, frozen=True):
    """A problem or diagnosis. ``active``: recurrence and relapse count; abated or undated-inactive do not."""

    source: str
    codes: tuple[Code, ...]
    text: str
    active: bool
    confirmed: bool  # False for unconfirmed, provisional, differential
    recorded: date | None  # onset, else recorded date


class Therapy(msgspec.Struct, frozen=True):
    """A medication that was ordered, stated, dispensed or given (any of the four FHIR resources)."""

    source: str
    kind: str  # "MedicationRequest" | "MedicationStatement" | "MedicationDispense" | "MedicationAdministration"
    codes: tuple[Code, ...]  # product and ingredient codes together
    text: str
    routes: tuple[Code, ...]
    status: str
    proposal: bool  # intent proposal, plan or option: never evidence that it was taken
    as_needed: bool
    scheduled: bool  # frequency/period, a timing code, or a continuous or transdermal system
    schedule: str  # as a person writes it: "twice a day", "every 12 h"; "" when not stated
    start: date | None
    stop: date | None  # None while it runs or when no end is known
    stop_reason: str  # statusReason as text, "" when absent
    stop_codes: tuple[Code, ...] = ()
    author: str = ""
    prior: tuple[str, ...] = ()  # orders that this one replaces


class Score(msgspec.Struct, frozen=True):
    """A numeric observation such as a pain score."""

    source: str
    codes: tuple[Code, ...]
    text: str
    value: Fraction
    unit: str
    when: date


class Procedure(msgspec.Struct, frozen=True):
    """A procedure that was done (``done``) or started; not-done ones are dropped."""

    source: str
    codes: tuple[Code, ...]
    text: str
    done: bool
    when: date | None
    outcome: str = ""


class Device(msgspec.Struct, frozen=True):
    """A device in or on the patient; removed and inactive ones carry ``active=False``."""

    source: str
    codes: tuple[Code, ...]
    text: str
    active: bool
    when: date | None


class Intolerance(msgspec.Struct, frozen=True):
    """An AllergyIntolerance; ``kind`` is "intolerance", "allergy" or ""."""

    source: str
    codes: tuple[Code, ...]
    text: str
    kind: str
    active: bool
    when: date | None


class ServiceOrder(msgspec.Struct, frozen=True):
    """A ServiceRequest or DeviceRequest: a pump, catheter, trial or refill order."""

    source: str
    codes: tuple[Code, ...]
    text: str
    draft: bool  # in the bundle being signed
    active: bool
    when: date | None


class Encounter(msgspec.Struct, frozen=True):
    """An encounter; ``codes`` holds class, type and reason codes, ``classes`` only its class codes."""

    source: str
    classes: tuple[str, ...]
    codes: tuple[Code, ...]
    when: date | None


class Answer(msgspec.Struct, frozen=True):
    """One answer of a coverage questionnaire (contract: questionnaire)."""

    fact: str
    value: str | Fraction | date  # choice code ("yes", "trial"), decimal, date or text; booleans arrive as yes/no
    source: str  # "QuestionnaireResponse/x"
    attested_on: date | None
    counts: bool  # completed or amended, for this canonical and this patient
    signed: bool
    author: str = ""
    authored: datetime | None = None  # the moment, where it is stated: of two of one day the later one is newer
    written: date | None = None  # the day on which the form was last changed


class Record(msgspec.Struct, frozen=True):
    """Everything seen of one patient at one moment. ``availability`` is keyed by FHIR resource type."""

    patient_id: str
    conditions: tuple[Condition, ...] = ()
    therapies: tuple[Therapy, ...] = ()
    scores: tuple[Score, ...] = ()
    procedures: tuple[Procedure, ...] = ()
    devices: tuple[Device, ...] = ()
    intolerances: tuple[Intolerance, ...] = ()
    service_orders: tuple[ServiceOrder, ...] = ()
    encounters: tuple[Encounter, ...] = ()
    answers: tuple[Answer, ...] = ()
    birth_date: date | None = None
    availability: Mapping[str, Availability] = {}
