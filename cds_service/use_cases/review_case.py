"""One case on one page: what is asked for, what speaks for it, what was done with it, and what would be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import msgspec

from cds_service.domain.clocks import approval_end
from cds_service.domain.prior_auth import FINAL, AuditEntry, Case, CaseState, Version
from cds_service.domain.record import Record
from cds_service.domain.review import Person
from cds_service.domain.vocabulary import Vocabulary
from cds_service.errors import CdsServiceError, NotFound
from cds_service.fhir.pas.documents import Document, Handed, handed, read_documents
from cds_service.fhir.pas.reading import Form, FormAnswer, read_seen
from cds_service.pictures.svg import Picture
from cds_service.policy.model import Annotation, Guideline
from cds_service.ports import Clock
from cds_service.prior_auth_ports import CaseStore
from cds_service.review_ports import Proposal, ReviewReads, StoredAudit, StoredEvent
from cds_service.use_cases.review_criteria import Findings, findings
from cds_service.use_cases.review_pictures import dose_picture, pain_picture, timeline_picture
from cds_service.use_cases.review_words import (
    ACTION_WORDS,
    Due,
    condition_words,
    due_of,
    event_words,
    version_words,
)

_ACTS = {
    "view": "opened the case",
    "read_response": "read the response",
    "read_letter": "read the letter",
    "read_document": "opened a document",
    "take": "took the case",
    "release": "released the case",
    "propose": "proposed a decision",
    "withdraw": "withdrew a proposal",
}
ENGINE = "the engine, without a person"
_BY_ITSELF = frozenset({"line_decided", "pended", "decided"})
_SAID_BY_VERSIONS = frozenset({"received", "updated", "cancelled"})


class DoseView(msgspec.Struct, frozen=True):
    """The amounts of one drug order against the guideline's table."""

    sequences: tuple[int, ...]
    picture: Picture


class Happened(msgspec.Struct, frozen=True):
    """One line of the case's history."""

    at: datetime
    who: str
    what: str
    n: int = 0  # the version that it made, 0 for none


class WantedFact(msgspec.Struct, frozen=True):
    """A question that may be asked again: its name, text, and whether it is open now."""

    name: str
    text: str
    open: bool


class CaseView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows."""

    case: Case
    due: Due
    version: Version
    policy: str
    findings: Findings | None  # None: nothing was held against criteria
    doses: tuple[DoseView, ...]
    conditions: Mapping[int, tuple[tuple[str, bool], ...]]  # line -> what approval by the engine asks for, and holds
    annotations: tuple[Annotation, ...]
    timeline: Picture | None
    pain: Picture | None
    forms: tuple[Form, ...]
    documents: tuple[Document, ...]
    request_n: int  # the version whose request is shown
    history: tuple[Happened, ...]
    facts: tuple[WantedFact, ...]
    criteria: tuple[tuple[str, str, str], ...]  # id, name and text, to tie a reason to
    period: tuple[str, str]  # first and last day that the guideline's duration gives from today, "" where it has none
    proposal: Proposal | None
    reviewer: str  # name of whom it is assigned to
    deciders: tuple[tuple[str, tuple[int, ...]], ...]  # who decided which lines, as they stand
    unreadable: bool  # the stored request could not be read again

    @property
    def has_letter(self) -> bool:
        """Whether there is a decision to write about: a question or an extension alone is none."""
        return self.case.state is not CaseState.PENDED or any(line.action in FINAL for line in self.case.summary.lines)

    @property
    def met(self) -> Mapping[int, frozenset[str]]:
        """The criteria that appear met for each line."""
        found = self.findings
        lines = self.case.summary.lines if found else ()
        return {line.sequence: found.met_of(line.sequence) for line in lines if found}

    @property
    def named(self) -> Mapping[str, tuple[str, str]]:
        """Name and text of a criterion by its id."""
        return {ident: (name, text) for ident, name, text in self.criteria}


class ReviewCase:
    """Opens a case; every opening is written down."""

    def __init__(
        self,
        cases: CaseStore,
        reads: ReviewReads,
        guidelines: Sequence[Guideline],
        vocabulary: Vocabulary,
        clock: Clock,
    ) -> None:
        """``guidelines``: all versions; a case is shown with the version that it was judged by."""
        self._cases = cases
        self._reads = reads
        self._guidelines = {(each.id, each.version): each for each in guidelines}
        self._vocabulary = vocabulary
        self._clock = clock

    def open(self, case_id: str, person: Person) -> CaseView:
        """The case for this person. Raises NotFound."""
        view = self.view(case_id)
        self.note(person, "view", case_id, view.case.version)
        return view

    def view(self, case_id: str) -> CaseView:
        """The case for a step that is written down by itself. Raises NotFound."""
        case = self._cases.case(case_id)
        versions = self._cases.versions(case_id) if case else ()
        if case is None or not versions:
            raise NotFound("no such case")
        return self._view(case, versions)

    def response(self, case_id: str, n: int, person: Person) -> Version:
        """One version with its response. Raises NotFound."""
        version = self._cases.version(case_id, n)
        if version is None:
            raise NotFound("no such version of a case")
        self.note(person, "read_response", case_id, n)
        return version

    def document(self, case_id: str, n: int, place: int, part: int, person: Person) -> tuple[Document, Handed]:
        """One file of a document of the request of a version; written down. Raises NotFound."""
        version = self._cases.version(case_id, n)
        documents = read_documents(version.request) if version is not None and version.request else ()
        document = documents[place] if place < len(documents) else None
        file = handed(document.files[part]) if document is not None and part < len(document.files) else None
        if document is None or file is None:
            raise NotFound("no such document, or it cannot be read")
        self.note(person, "read_document", case_id, n, document=document.source, part=part)
        return document, file

    def note(self, person: Person, action: str, case_id: str, n: int, **more: str | int) -> None:
        """Write down that somebody looked at something."""
        detail = {"version": n, **more}
        entry = AuditEntry(self._clock.now(), person.id, person.role.value, action, f"case/{case_id}", detail)
        self._cases.note([entry])

    def _view(self, case: Case, versions: Sequence[Version]) -> CaseView:
        newest = versions[-1]
        guideline = self._guidelines.get((newest.policy_id, newest.policy_version))
        trace = msgspec.json.decode(newest.trace, type=dict[str, Any])
        orders = [each for each in (trace.get("determination") or {}).get("orders", ()) if each.get("criteria")]
        record, forms, documents, unreadable = self._seen(versions, guideline)
        requested = frozenset(line.order for line in case.summary.lines if line.order)
        waits = case.state is CaseState.PENDED
        names, events, acts = (
            self._reads.names(),
            self._reads.events_of(case.id),
            self._reads.audit_of(f"case/{case.id}"),
        )
        return CaseView(
            case=case,
            due=due_of(case.received, case.due if waits else None, self._clock.now()),
            version=newest,
            policy=f"{newest.policy_id}, version {newest.policy_version}",
            findings=findings(orders, case.summary.lines, guideline) if orders else None,
            doses=_doses(orders, case, guideline),
            conditions={int(line["sequence"]): _conditions(line) for line in trace.get("lines", ())},
            annotations=_annotations(guideline, orders),
            timeline=timeline_picture(record, requested, newest.at.date()) if record else None,
            pain=pain_picture(record, self._vocabulary) if record else None,
            forms=forms,
            documents=documents,
            request_n=next((each.n for each in reversed(versions) if each.request), 0),
            history=_history(versions, events, acts, names),
            facts=_facts(guideline, orders),
            criteria=_criteria(guideline),
            period=_period(guideline, case.request_type, self._clock.now().date()),
            reviewer=names.get(case.assigned_to, case.assigned_to),
            deciders=_deciders(case, events, acts, names),
            proposal=self._reads.proposal(case.id) if waits else None,
            unreadable=unreadable,
        )

    def _seen(
        self, versions: Sequence[Version], guideline: Guideline | None
    ) -> tuple[Record | None, tuple[Form, ...], tuple[Document, ...], bool]:
        request = next((each.request for each in reversed(versions) if each.request), None)
        if request is None:
            return None, (), (), True
        try:
            seen = read_seen(request, guideline.canonical if guideline else "")
        except CdsServiceError:  # it was readable when it came in; a page without it is better than none
            return None, (), (), True
        return seen.record, tuple(_worded(form, guideline) for form in seen.forms), seen.documents, False


def _history(
    versions: Sequence[Version], events: Sequence[StoredEvent], acts: Sequence[StoredAudit], names: Mapping[str, str]
) -> tuple[Happened, ...]:
    """The newest first; what was done by itself is the engine's, whoever sent the request."""
    everything = [
        Happened(each.at, names.get(each.actor, each.actor), version_words(each.kind), each.n) for each in versions
    ]
    everything += [
        Happened(each.at, _who(each, names), _event(each.kind, each.detail))
        for each in events
        if each.kind not in _SAID_BY_VERSIONS and not (each.kind == "pended" and each.actor in names)
    ]
    everything += [
        Happened(each.at, names.get(each.actor, each.actor), _ACTS[each.action])
        for each in acts
        if each.action in _ACTS
    ]
    everything.sort(key=lambda each: each.at)
    everything.reverse()
    repeats = pairwise([None, *everything])
    return tuple(each for before, each in repeats if each and not _repeats(before, each))


def _who(event: StoredEvent, names: Mapping[str, str]) -> str:
    by_itself = event.kind in _BY_ITSELF and event.actor not in names and event.detail.get("machine") is not False
    return ENGINE if by_itself else names.get(event.actor, event.actor)


def _deciders(
    case: Case, events: Sequence[StoredEvent], acts: Sequence[StoredAudit], names: Mapping[str, str]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Who decided each line as it stands now, with the second signer where there was one."""
    newest = {event.detail.get("sequence"): event for event in events if event.kind == "line_decided"}
    seconds = {
        (each.actor, each.at): str(each.detail["seconded_by"]) for each in acts if each.detail.get("seconded_by")
    }
    found: dict[str, list[int]] = {}
    for line in case.summary.lines:
        event = newest.get(line.sequence)
        if event is None or line.action not in FINAL:
            continue
        who = _who(event, names)
        second = seconds.get((event.actor, event.at))
        found.setdefault(f"{who} and {names.get(second, second)}" if second else who, []).append(line.sequence)
    return tuple((who, tuple(of)) for who, of in found.items())


def _repeats(newer: Happened | None, older: Happened) -> bool:
    """Somebody did the same twice in a row: the latest time is enough here, the audit log has all of them."""
    return newer is not None and not older.n and (newer.who, newer.what) == (older.who, older.what)


def _worded(form: Form, guideline: Guideline | None) -> Form:
    """A form in the guideline's words where it came with linkIds and codes alone."""
    facts = guideline.facts if guideline else {}

    def worded(answer: FormAnswer) -> FormAnswer:
        fact = facts.get(answer.question)
        if fact is None:
            return answer
        texts = {option.code: option.text for option in fact.options}
        said = texts.get(answer.answer, answer.answer)
        return msgspec.structs.replace(answer, question=fact.text, answer=said)

    return msgspec.structs.replace(form, answers=tuple(worded(answer) for answer in form.answers))


def _event(kind: str, detail: Mapping[str, Any]) -> str:
    said = event_words(kind)
    if kind == "line_decided":
        actions = {action.value: words for action, words in ACTION_WORDS.items()}
        return f"line {detail.get('sequence')} {actions.get(str(detail.get('action')), detail.get('action'))}"
    return f"{said}: {str(detail['reason']).rstrip('.')}" if detail.get("reason") else said


def _conditions(line: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    """What an approval by machine asks for, in words; what does not hold first."""
    held = [(condition_words(each["condition"]), each["holds"]) for each in line.get("conditions", ())]
    return tuple(sorted(held, key=lambda each: each[1]))


def _doses(orders: Sequence[Mapping[str, Any]], case: Case, guideline: Guideline | None) -> tuple[DoseView, ...]:
    return tuple(
        DoseView(
            tuple(line.sequence for line in case.summary.lines if line.order == order["order"]),
            dose_picture(order["dose"], guideline),
        )
        for order in orders
        if order["dose"]
    )


def _criteria(guideline: Guideline | None) -> tuple[tuple[str, str, str], ...]:
    if guideline is None:
        return ()
    return tuple((each.id, guideline.criterion_name(each.id), each.text) for each in guideline.criteria.values())


def _annotations(guideline: Guideline | None, orders: Sequence[Mapping[str, Any]]) -> tuple[Annotation, ...]:
    """Findings about the printed text that a reviewer should know: those of the drugs and flags of this request."""
    if guideline is None:
        return ()
    drugs = {str(dose["ingredient"]) for order in orders for dose in order["dose"]}
    flags = {str(flag["code"]) for order in orders for flag in order["flags"]}
    return tuple(
        each
        for each in guideline.annotations
        if (
            each.shown == "reviewer"
            or (each.shown == "card" and (drugs.intersection(each.drugs) or each.flag in flags))
        )
        and (not each.drugs or drugs.intersection(each.drugs))
    )


def _period(guideline: Guideline | None, request_type: str, today: date) -> tuple[str, str]:
    asked = guideline.request_types.get(request_type) if guideline else None
    duration = guideline.sections[asked.decided_by].approval_duration if guideline and asked else None
    return (today.isoformat(), approval_end(today, duration).isoformat()) if duration else ("", "")


def _facts(guideline: Guideline | None, orders: Sequence[Mapping[str, Any]]) -> tuple[WantedFact, ...]:
    """What may be asked again, the open ones first in the guideline's order."""
    if guideline is None:
        return ()
    missing = {str(name) for order in orders for name in order["missing_facts"]}
    facts = [WantedFact(each.name, each.text, each.name in missing) for each in guideline.facts.values()]
    return tuple(sorted(facts, key=lambda fact: not fact.open))
