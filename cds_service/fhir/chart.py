"""All resources of one call behind one gate: only the patient of the call gets through (reliability rows 65-75).

Drafts, prefetch and what was read from the EHR go in; resources by type, how completely each type could be seen, and
what was left out come out. No rule runs before this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from cds_service.domain.record import Availability
from cds_service.errors import PatientMismatch
from cds_service.fhir import bundles, patient_gate
from cds_service.fhir.concepts import word
from cds_service.fhir.references import contained, host_of, normal, server_host

Resource = dict[str, Any]

_COMPLETE, _PARTIAL = Availability.COMPLETE, Availability.PARTIAL
_NOT_READABLE, _NOT_ASKED = Availability.NOT_READABLE, Availability.NOT_ASKED
_READ_TYPES = frozenset({"Patient", "Encounter"})  # asked for by id, so one bare resource is the whole answer
_BY_FETCH = {"complete": _COMPLETE, "absent": _COMPLETE, "partial": _PARTIAL}
_NOT_HIDING = frozenset({patient_gate.ENTERED_IN_ERROR, patient_gate.REFUTED})  # what could never count is not missed


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

    ``type`` is one of the wanted types or ``other``; ``reason`` is ``other_patient``, ``patient_unknown``,
    ``entered_in_error``, ``refuted`` or ``malformed``.
    """

    type: str
    reason: str


class Draft(msgspec.Struct, frozen=True):
    """One resource of ``context.draftOrders``; ``bound`` False where it names somebody by display alone (row 69)."""

    reference: str  # "MedicationRequest/draft-1"; fullUrl or "Type/#n" where it has no id
    resource: Resource
    bound: bool = True


class Chart(msgspec.Struct, frozen=True):
    """What may be used of one call. ``availability`` holds every type that was wanted."""

    patient_id: str
    host: str | None
    drafts: tuple[Draft, ...]
    resources: Mapping[str, Sequence[Resource]]
    index: Mapping[str, Resource]
    availability: Mapping[str, Availability]
    dropped: tuple[Dropped, ...] = ()

    def of(self, kind: str) -> Sequence[Resource]:
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
        fhir_server: the EHR's base URL; None: its host is taken from the drafts' own absolute URLs, if any.
        drafts: resource and ``fullUrl`` ("" when absent) of each entry of ``context.draftOrders``.
        prefetch: answers by our own key; null means known to be absent, a missing key means not answered.
        fetched: what was read from the EHR, by the same keys.
        wanted: our keys and the resource type that each asks for; other prefetch keys are not read.

    Raises:
        PatientMismatch: the Patient, a draft or a Coverage is another patient's (rows 65-67, 70, 71).
    """
    filing = _Filing(patient_id, fhir_server, drafts, frozenset(wanted.values()))
    filing.file_drafts(drafts)
    for key, kind in wanted.items():
        filing.file_key(key, kind, prefetch, fetched)
    return filing.chart()


def source(resource: Resource) -> str:
    """``Type/id`` of a stored resource, as evidence names it."""
    return f"{resource.get('resourceType')}/{resource.get('id', '')}"


class _Filing:
    """One pass over the resources of one call."""

    def __init__(
        self, patient_id: str, server: str | None, drafts: Sequence[tuple[Resource, str]], kinds: frozenset[str]
    ) -> None:
        self.patient_id = patient_id
        self.base = (server or "").rstrip("/") + "/"
        self.host = server_host(server) or _host_of_drafts(drafts)
        self.kinds = kinds
        self.drafts: list[Draft] = []
        self.draft_names: set[str] = set()
        self.resources: dict[str, list[Resource]] = {}
        self.index: dict[str, Resource] = {}
        self.availability: dict[str, Availability] = {}
        self.dropped: list[Dropped] = []
        self.gate = patient_gate.PatientGate(patient_id, self.host, self.index)

    def chart(self) -> Chart:
        for drop in self.dropped:
            if drop.reason not in _NOT_HIDING and self.availability.get(drop.type) is _COMPLETE:
                self.availability[drop.type] = _PARTIAL
        return Chart(
            self.patient_id,
            self.host,
            tuple(self.drafts),
            self.resources,
            self.index,
            self.availability,
            tuple(self.dropped),
        )

    def file_drafts(self, drafts: Sequence[tuple[Resource, str]]) -> None:
        for resource, full_url in drafts:  # all names first: a draft's subject may be another entry
            self.put(resource, full_url)
        for number, (resource, full_url) in enumerate(drafts):
            kind = word(resource.get("resourceType"))
            refusal = self.gate.refusal(kind, resource)
            if refusal == patient_gate.OTHER_PATIENT or (refusal and patient_gate.names_somebody(kind, resource)):
                where = "context.draftOrders.entry.resource.subject"
                raise PatientMismatch("an order is not known to be for context.patientId", expression=where)
            ident = resource.get("id")
            name = f"{kind}/{ident}" if ident is not None else full_url or f"{kind}/#{number}"
            self.draft_names.add(name)
            # A draft without any subject is the call's own: hooks fire for context.patientId alone.
            self.drafts.append(Draft(name, resource, not refusal or not patient_gate.has_subject(kind, resource)))

    def file_key(self, key: str, kind: str, prefetch: Mapping[str, Any], fetched: Mapping[str, Read]) -> None:
        state = self.file_answer(key, kind, prefetch[key]) if key in prefetch else _NOT_ASKED
        read = fetched.get(key)
        if read is not None:
            state = bundles.better(state, self.file_read(kind, read))
        before = self.availability.get(kind)
        self.availability[kind] = state if before is None else bundles.joint(before, state)

    def file_answer(self, key: str, kind: str, value: Any) -> Availability:
        """One prefetch answer; what it says of completeness (rows 74, 75; cds-hooks-crd 37-39)."""
        if value is None:
            return _COMPLETE
        got = value.get("resourceType") if type(value) is dict else None
        if got == "Bundle":
            held = bundles.contents(value, kind)
            for resource, full_url in held.resources:
                self.file(resource, full_url, kind)
            self.dropped.extend([Dropped(kind, patient_gate.MALFORMED)] * held.malformed)
            return held.availability
        if got != kind:
            return _NOT_READABLE
        if kind == "Patient" and value.get("id") != self.patient_id:
            raise PatientMismatch("the Patient is not context.patientId", expression=f"prefetch.{key}.id")
        self.file(value, "", kind)
        return _COMPLETE if kind in _READ_TYPES else _PARTIAL

    def file_read(self, kind: str, read: Read) -> Availability:
        """What a read of the EHR gave (reliability F4-F13)."""
        state = _BY_FETCH.get(read.state, _NOT_READABLE)
        for resource in read.resources:
            if resource.get("resourceType") == "OperationOutcome":
                state = bundles.worse(state, bundles.outcome(resource))
            else:
                self.file(resource, "", kind)
        return state

    def file(self, resource: Resource, full_url: Any, asked: str) -> None:
        """Put one resource in its place, unless it is somebody else's, erroneous or already there."""
        kind = resource.get("resourceType")
        if type(kind) is not str:
            self.dropped.append(Dropped(asked, patient_gate.MALFORMED))
            return
        reason = self.gate.refusal(kind, resource) or patient_gate.error(kind, resource)
        if reason:
            if kind == "Coverage" and reason == patient_gate.OTHER_PATIENT:
                raise PatientMismatch("a Coverage is another patient's", expression="Coverage.beneficiary")
            self.dropped.append(Dropped(kind if kind in self.kinds else "other", reason))
            return
        ident = resource.get("id")
        if ident is not None:
            name = f"{kind}/{ident}"
            if name in self.draft_names or name in self.index:
                return
        self.put(resource, full_url)
        held = self.resources.get(kind)
        if held is None:
            self.resources[kind] = [resource]
        else:
            held.append(resource)

    def put(self, resource: Resource, full_url: Any) -> None:
        """Make it findable by ``Type/id``, and by its full URL where that says something else."""
        ident = resource.get("id")
        name = f"{resource.get('resourceType')}/{ident}"
        if full_url and type(full_url) is str and full_url != self.base + name:
            there = normal(full_url, self.host)
            if there is not None and there != name:
                self.index.setdefault(there, resource)
                if self.host is not None and not there.startswith("urn:"):
                    return  # it lives on another host, where the same id is another thing
        if ident is not None:
            self.index.setdefault(name, resource)


def _host_of_drafts(drafts: Iterable[tuple[Resource, str]]) -> str | None:
    """Without fhirServer: the host of the first draft's own absolute URL, or of its subject's."""
    for resource, full_url in drafts:
        subject = resource.get("subject")
        text = subject.get("reference") if type(subject) is dict else None
        host = host_of(full_url) or host_of(text)
        if host is not None:
            return host
    return None
