"""All resources of one call behind one gate: only the patient of the call gets through (reliability rows 65-75).

Drafts, prefetch and what was read from the EHR go in; resources by type, what could be seen how completely, and what
was left out come out. No rule runs before this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from cds_service.domain.record import Availability
from cds_service.errors import PatientMismatch
from cds_service.fhir.concepts import codings, dicts, word
from cds_service.fhir.references import contained, host_of, normal

Resource = dict[str, Any]

# Types that speak of no patient (reliability 1.2): they pass the gate as they are.
_WITHOUT_PATIENT = frozenset({
    "Medication", "Organization", "Practitioner", "PractitionerRole", "Location", "Questionnaire", "Substance",
    "HealthcareService", "Endpoint", "InsurancePlan", "ValueSet", "CodeSystem", "Library", "PlanDefinition",
    "ActivityDefinition",
})  # fmt: skip
_PATIENT_ELEMENTS = {"Coverage": "beneficiary", "Device": "patient", "AllergyIntolerance": "patient"}
_READ_TYPES = frozenset({"Patient", "Encounter"})  # asked for by id, so one bare resource is the whole answer
_ERRONEOUS = {"entered-in-error": "entered_in_error", "refuted": "refuted"}
_NOT_HIDING = frozenset(_ERRONEOUS.values())  # leaving these out hides nothing that could count
# Issue codes by which a server says that a search result is not the whole one.
_INCOMPLETE = frozenset({"incomplete", "suppressed", "too-costly", "timeout", "forbidden", "throttled", "exception"})

_COMPLETE, _PARTIAL = Availability.COMPLETE, Availability.PARTIAL
_NOT_READABLE, _NOT_ASKED = Availability.NOT_READABLE, Availability.NOT_ASKED
_BY_FETCH = {"complete": _COMPLETE, "absent": _COMPLETE, "partial": _PARTIAL}


class Read(Protocol):
    """What a read of the EHR gave: ``ports.Fetched``, named here by its shape because codecs know no ports."""

    @property
    def state(self) -> str:
        """``complete``, ``partial``, ``absent``, ``denied``, ``failed`` or ``late``."""
        ...

    @property
    def resources(self) -> Sequence[Resource]:
        """Matches and includes."""
        ...


class Dropped(msgspec.Struct, frozen=True):
    """One resource that was left out; no id, so it may go to logs and metrics.

    ``reason``: ``other_patient``, ``patient_unknown``, ``entered_in_error``, ``refuted``, ``malformed``.
    """

    type: str
    reason: str


class Draft(msgspec.Struct, frozen=True):
    """One resource of ``context.draftOrders``; ``bound`` False where its subject is not known to be the patient."""

    reference: str  # "MedicationRequest/draft-1"
    resource: Resource
    bound: bool = True


class Chart(msgspec.Struct, frozen=True):
    """What may be used of one call. ``availability`` holds every type that was wanted."""

    patient_id: str
    host: str | None
    drafts: tuple[Draft, ...]
    resources: Mapping[str, tuple[Resource, ...]]
    index: Mapping[str, Resource]
    availability: Mapping[str, Availability]
    dropped: tuple[Dropped, ...] = ()

    def of(self, kind: str) -> tuple[Resource, ...]:
        """Stored resources of one type: neither drafts nor their stored copies."""
        return self.resources.get(kind, ())

    def seen(self, kind: str) -> Availability:
        """How completely one type could be seen."""
        return self.availability.get(kind, _NOT_ASKED)

    def normal(self, reference: Any) -> str | None:
        """Normal form of a Reference or of its text, see ``references``."""
        return normal(reference.get("reference") if type(reference) is dict else reference, self.host)

    def resolve(self, reference: Any, container: Any = None) -> Resource | None:
        """The resource that a Reference (or its text) names, or None; contained ones from the outermost ``container``.

        One hop: who follows further counts to ``references.HOP_LIMIT``.
        """
        text = reference.get("reference") if type(reference) is dict else reference
        if type(text) is not str:
            return None
        found = self.index.get(text)
        if found is not None:
            return found
        if text.startswith("#"):
            return contained(text, container)
        name = normal(text, self.host)
        return self.index.get(name) if name is not None else None


def build_chart(
    *,
    patient_id: str,
    fhir_server: str | None,
    drafts: Sequence[tuple[Resource, str]],
    prefetch: Mapping[str, Any],
    fetched: Mapping[str, Read],
    wanted: Mapping[str, str],
) -> Chart:
    """File everything of one call.

    Args:
        patient_id: ``context.patientId``.
        fhir_server: the EHR's base URL; None: taken from the drafts' own absolute URLs, if any.
        drafts: resource and ``fullUrl`` ("" when absent) of each entry of ``context.draftOrders``.
        prefetch: answers by our own key; null means known to be absent, a missing key means not answered.
        fetched: what was read from the EHR, by the same keys.
        wanted: our keys and the resource type that each asks for; other prefetch keys are not read.

    Raises:
        PatientMismatch: the Patient, a draft or a Coverage is another patient's (rows 65-67, 70, 71).
    """
    filing = _Filing(patient_id, fhir_server, drafts)
    filing.file_drafts(drafts)
    for key, kind in wanted.items():
        filing.file_key(key, kind, prefetch, fetched)
    return filing.chart()


class _Filing:
    """One pass over the resources of one call."""

    def __init__(self, patient_id: str, fhir_server: str | None, drafts: Sequence[tuple[Resource, str]]) -> None:
        self.patient_id = patient_id
        self.me = f"Patient/{patient_id}"
        self.base = (fhir_server or "").rstrip("/") + "/"
        self.host = host_of(fhir_server) or _host_of_drafts(drafts)
        self.drafts: list[Draft] = []
        self.draft_names: set[str] = set()
        self.resources: dict[str, list[Resource]] = {}
        self.index: dict[str, Resource] = {}
        self.availability: dict[str, Availability] = {}
        self.dropped: list[Dropped] = []

    def chart(self) -> Chart:
        for kind in {drop.type for drop in self.dropped if drop.reason not in _NOT_HIDING}:
            if self.availability.get(kind) is _COMPLETE:
                self.availability[kind] = _PARTIAL
        return Chart(
            patient_id=self.patient_id,
            host=self.host,
            drafts=tuple(self.drafts),
            resources={kind: tuple(held) for kind, held in self.resources.items()},
            index=self.index,
            availability=self.availability,
            dropped=tuple(self.dropped),
        )

    def file_drafts(self, drafts: Sequence[tuple[Resource, str]]) -> None:
        for resource, full_url in drafts:  # first all names, since a draft's subject may be another entry
            self.put(resource, full_url)
        for resource, _ in drafts:
            kind = resource.get("resourceType", "")
            whose = self.whose(kind, resource)
            if whose == "other_patient" or (whose == "patient_unknown" and _by_identifier_only(resource)):
                raise PatientMismatch(
                    "an order is not for context.patientId", expression="context.draftOrders.entry.resource.subject"
                )
            name = f"{kind}/{resource.get('id', '')}"
            self.draft_names.add(name)
            self.drafts.append(Draft(name, resource, not whose))

    def file_key(self, key: str, kind: str, prefetch: Mapping[str, Any], fetched: Mapping[str, Read]) -> None:
        state = _NOT_ASKED
        if key in prefetch:
            state = self.file_answer(key, kind, prefetch[key])
        read = fetched.get(key)
        if read is not None:
            for resource in read.resources:
                self.file(resource, "", kind)
            now = _BY_FETCH.get(read.state, _NOT_READABLE)
            # A page read after all completes what prefetch had begun; a read that failed takes nothing away.
            state = _PARTIAL if now is _NOT_READABLE and state is _PARTIAL else now
        before = self.availability.get(kind, _NOT_ASKED)
        self.availability[kind] = state if before is _NOT_ASKED else _joint(before, state)

    def file_answer(self, key: str, kind: str, value: Any) -> Availability:
        """One prefetch answer; what it says of completeness (rows 74, 75; cds-hooks-crd 37-39)."""
        if value is None:
            return _COMPLETE
        if type(value) is not dict:
            return _NOT_READABLE
        got = value.get("resourceType")
        if got == "Bundle":
            return self.file_bundle(kind, value)
        if got != kind:
            return _NOT_READABLE
        if kind == "Patient" and value.get("id") != self.patient_id:
            raise PatientMismatch("the Patient is not context.patientId", expression=f"prefetch.{key}.id")
        self.file(value, "", kind)
        return _COMPLETE if kind in _READ_TYPES else _PARTIAL

    def file_bundle(self, kind: str, bundle: Resource) -> Availability:
        entries = bundle.get("entry")
        if entries is None:
            entries = []
        if type(entries) is not list or (not entries and bundle.get("type") != "searchset"):
            return _NOT_READABLE
        state, matches = _COMPLETE, 0
        for entry in entries:
            resource = entry.get("resource") if type(entry) is dict else None
            if type(resource) is not dict:
                state = _PARTIAL
                self.dropped.append(Dropped(kind, "malformed"))
                continue
            got = resource.get("resourceType")
            if got == "OperationOutcome":
                state = _worse(state, _outcome_state(resource))
                continue
            matches += got == kind
            self.file(resource, entry.get("fullUrl"), kind)
        if state is _NOT_READABLE:
            return _PARTIAL if matches else _NOT_READABLE
        return _PARTIAL if _goes_on(bundle, matches) else state

    def file(self, resource: Any, full_url: Any, asked: str) -> None:
        """Put one resource in its place, unless it is somebody else's, erroneous or already there."""
        kind = resource.get("resourceType") if type(resource) is dict else None
        if type(kind) is not str:
            self.dropped.append(Dropped(asked, "malformed"))
            return
        why = self.whose(kind, resource) or _error(kind, resource)
        if why:
            if why == "other_patient" and kind == "Coverage":
                raise PatientMismatch("a Coverage is another patient's", expression="Coverage.beneficiary")
            self.dropped.append(Dropped(kind if kind in _KNOWN else "other", why))
            return
        name = f"{kind}/{resource.get('id', '')}"
        if name in self.draft_names or (name in self.index and "id" in resource):
            return
        self.put(resource, full_url)
        held = self.resources.get(kind)
        if held is None:
            self.resources[kind] = [resource]
        else:
            held.append(resource)

    def put(self, resource: Resource, full_url: Any) -> None:
        """Make it findable by ``Type/id``, and by its full URL where that says something else."""
        name = f"{resource.get('resourceType')}/{resource.get('id')}"
        if type(full_url) is str and full_url and full_url != self.base + name:
            there = normal(full_url, self.host)
            if there is not None and there != name:
                self.index.setdefault(there, resource)
                if not full_url.startswith("urn:"):
                    return  # it lives on another server, where the same id is another thing
        if "id" in resource:
            self.index.setdefault(name, resource)

    def whose(self, kind: str, resource: Resource) -> str:  # noqa: PLR0911 - one per row of the gate
        """``""`` for this patient's or nobody's, else why it may not be used (rows 66-71)."""
        if kind in _WITHOUT_PATIENT:
            return ""
        if kind == "Patient":
            return "" if resource.get("id") == self.patient_id else "other_patient"
        element = _PATIENT_ELEMENTS.get(kind)
        reference = resource.get(element) if element else resource.get("subject", resource.get("patient"))
        text = reference.get("reference") if type(reference) is dict else None
        if text == self.me:
            return ""
        name = normal(text, self.host)
        if name == self.me:
            return ""
        if name is None:
            return "patient_unknown" if text is None else "other_patient"
        if name.startswith("urn:"):
            patient = self.index.get(name)
            if patient is None:
                return "patient_unknown"
            return (
                ""
                if patient.get("resourceType") == "Patient" and patient.get("id") == self.patient_id
                else "other_patient"
            )
        return "patient_unknown" if name.startswith("#") else "other_patient"


_KNOWN = frozenset({
    "Patient", "Encounter", "Coverage", "Condition", "MedicationRequest", "MedicationStatement", "MedicationDispense",
    "MedicationAdministration", "Observation", "Procedure", "Device", "DeviceUseStatement", "AllergyIntolerance",
    "QuestionnaireResponse", "ServiceRequest", "DeviceRequest",
})  # fmt: skip


def source(resource: Resource) -> str:
    """``Type/id`` of a stored resource, as evidence names it."""
    return f"{resource.get('resourceType')}/{resource.get('id', '')}"


def _host_of_drafts(drafts: Iterable[tuple[Resource, str]]) -> str | None:
    for resource, full_url in drafts:
        host = host_of(full_url or None)
        if host is None:
            subject = resource.get("subject")
            text = subject.get("reference") if type(subject) is dict else None
            host = host_of(text) if type(text) is str else None
        if host is not None:
            return host
    return None


def _by_identifier_only(resource: Resource) -> bool:
    """A subject that names somebody by other means than a reference (row 71), or as a contained Patient."""
    subject = resource.get("subject", resource.get("patient"))
    return type(subject) is dict and ("identifier" in subject or "reference" in subject)


def _error(kind: str, resource: Resource) -> str:
    if resource.get("status") == "entered-in-error":
        return "entered_in_error"
    if kind in {"Condition", "AllergyIntolerance"}:
        for coding in codings(resource.get("verificationStatus")):
            why = _ERRONEOUS.get(word(coding.get("code")))
            if why:
                return why
    return ""


def _goes_on(bundle: Resource, matches: int) -> bool:
    """There is more than these entries: a next link, or a total that they do not reach."""
    for link in dicts(bundle.get("link")):
        if link.get("relation") == "next":
            return True
    total = bundle.get("total")
    return type(total) is int and total > matches


def _outcome_state(outcome: Resource) -> Availability:
    """What an OperationOutcome among search results says of them; warnings and hints say nothing."""
    state = _COMPLETE
    for issue in dicts(outcome.get("issue")):
        if issue.get("severity") in {"error", "fatal"}:
            return _NOT_READABLE
        if issue.get("code") in _INCOMPLETE:
            state = _PARTIAL
    return state


_RANK = {_COMPLETE: 0, _PARTIAL: 1, _NOT_READABLE: 2, _NOT_ASKED: 3}


def _worse(one: Availability, other: Availability) -> Availability:
    return one if _RANK[one] >= _RANK[other] else other


def _joint(one: Availability, other: Availability) -> Availability:
    """Two keys for one type: both whole, or only a part is seen."""
    if _NOT_ASKED in {one, other}:
        return one if other is _NOT_ASKED else other
    return one if one is other else _PARTIAL
