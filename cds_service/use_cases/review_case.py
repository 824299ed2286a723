"""One case on one page: what is asked for, what speaks for it, what was done with it, and what would be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import msgspec

from cds_service.domain.clocks import approval_end
from cds_service.domain.prior_auth import AuditEntry, Case, CaseState, Version
from cds_service.domain.record import Record
from cds_service.domain.review import Person
from cds_service.domain.vocabulary import Vocabulary
from cds_service.errors import CdsServiceError, NotFound
from cds_service.fhir.pas.reading import Document, Form, FormAnswer, read_seen
from cds_service.pictures.svg import Picture
from cds_service.policy.model import Annotation, Guideline
from cds_service.ports import Clock
from cds_service.prior_auth_ports import CaseStore
from cds_service.review_ports import Proposal, ReviewReads
from cds_service.use_cases.review_pictures import dose_picture, pain_picture, timeline_picture
from cds_service.use_cases.review_words import Due, due_of, event_words, flag_words, version_words

_ACTS = {
    "view": "opened the case",
    "read_response": "read the response",
    "read_letter": "read the letter",
    "take": "took the case",
    "release": "released the case",
    "propose": "proposed a decision",
    "withdraw": "withdrew a proposal",
}
_SAID_BY_VERSIONS = frozenset({"received", "updated", "cancelled"})


class Told(msgspec.Struct, frozen=True):
    """One piece of evidence. ``by``: chart (a fact of the record), attestation, or computed (from other facts)."""

    by: str
    source: str
    date: str
    shows: str


class CriterionView(msgspec.Struct, frozen=True, kw_only=True):
    """One criterion with what it rests on."""

    id: str
    text: str
    cite: str
    status: str  # met | not_met | unknown
    told: tuple[Told, ...]
    missing: tuple[str, ...]  # questions that would settle it


class FlagView(msgspec.Struct, frozen=True):
    """A remark of the determination in words."""

    code: str
    words: str
    subject: str


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """One order held against the guideline."""

    order: str
    request_type: str
    program: str
    decision: str
    criteria: tuple[CriterionView, ...]
    sections: Mapping[str, str]
    dose: Picture | None
    flags: tuple[FlagView, ...]
    tier: str
    caveats: tuple[str, ...]
    icd: str
    icd_codes: tuple[str, ...]
    billing: tuple[str, ...]


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
    orders: tuple[OrderView, ...]
    conditions: Mapping[int, tuple[tuple[str, bool], ...]]  # line -> what approval by the engine asks for, and holds
    annotations: tuple[Annotation, ...]
    timeline: Picture | None
    pain: Picture | None
    forms: tuple[Form, ...]
    documents: tuple[Document, ...]
    history: tuple[Happened, ...]
    facts: tuple[WantedFact, ...]
    criteria: tuple[tuple[str, str], ...]  # id and text, to tie a reason to
    period: tuple[str, str]  # first and last day that the guideline's duration gives from today, "" where it has none
    proposal: Proposal | None
    reviewer: str  # name of whom it is assigned to
    unreadable: bool  # the stored request could not be read again


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

    def note(self, person: Person, action: str, case_id: str, n: int) -> None:
        """Write down that somebody looked at something."""
        entry = AuditEntry(self._clock.now(), person.id, person.role.value, action, f"case/{case_id}", {"version": n})
        self._cases.note([entry])

    def _view(self, case: Case, versions: Sequence[Version]) -> CaseView:
        newest = versions[-1]
        guideline = self._guidelines.get((newest.policy_id, newest.policy_version))
        trace = msgspec.json.decode(newest.trace, type=dict[str, Any])
        orders = [each for each in (trace.get("determination") or {}).get("orders", ()) if each.get("criteria")]
        record, forms, documents, unreadable = self._seen(versions, guideline)
        requested = frozenset(line.order for line in case.summary.lines if line.order)
        waits = case.state is CaseState.PENDED
        return CaseView(
            case=case,
            due=due_of(case.received, case.due if waits else None, self._clock.now()),
            version=newest,
            policy=f"{newest.policy_id}, version {newest.policy_version}",
            orders=tuple(_order(each, guideline) for each in orders),
            conditions={
                int(line["sequence"]): tuple((each["condition"], each["holds"]) for each in line.get("conditions", ()))
                for line in trace.get("lines", ())
            },
            annotations=_annotations(guideline, orders),
            timeline=timeline_picture(record, requested, newest.at.date()) if record else None,
            pain=pain_picture(record, self._vocabulary) if record else None,
            forms=forms,
            documents=documents,
            history=self._history(case.id, versions),
            facts=_facts(guideline, orders),
            criteria=tuple((each.id, each.text) for each in guideline.criteria.values()) if guideline else (),
            period=_period(guideline, case.request_type, self._clock.now().date()),
            reviewer=self._reads.names().get(case.assigned_to, case.assigned_to),
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

    def _history(self, case_id: str, versions: Sequence[Version]) -> tuple[Happened, ...]:
        names = self._reads.names()

        def happened(at: datetime, actor: str, what: str, n: int = 0) -> Happened:
            return Happened(at, names.get(actor, actor), what, n)

        everything = [happened(each.at, each.actor, version_words(each.kind), each.n) for each in versions]
        everything += [
            happened(each.at, each.actor, _event(each.kind, each.detail))
            for each in self._reads.events_of(case_id)
            if each.kind not in _SAID_BY_VERSIONS
        ]
        everything += [
            happened(each.at, each.actor, _ACTS[each.action])
            for each in self._reads.audit_of(f"case/{case_id}")
            if each.action in _ACTS
        ]
        everything.sort(key=lambda each: each.at, reverse=True)
        repeats = pairwise([None, *everything])
        return tuple(each for before, each in repeats if each and not _repeats(before, each))


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
        return (
            f"line {detail.get('sequence')}: {detail.get('action')}{' by the engine' if detail.get('machine') else ''}"
        )
    return f"{said}: {detail['reason']}" if detail.get("reason") else said


def _in_order(results: Mapping[str, Any], guideline: Guideline | None) -> list[str]:
    """Criteria as the guideline has them, whatever order they were stored in."""
    places = {key: place for place, key in enumerate(guideline.criteria if guideline else ())}
    return sorted(results, key=lambda key: (places.get(key, len(places)), key))


def _order(document: Mapping[str, Any], guideline: Guideline | None) -> OrderView:
    results = document["criteria"]
    return OrderView(
        order=document["order"],
        request_type=document["request_type"],
        program=document["program"],
        decision=document["decision"],
        criteria=tuple(_criterion(key, results[key], guideline) for key in _in_order(results, guideline)),
        sections=dict(sorted(document["sections"].items())),
        dose=dose_picture(document["dose"], guideline) if document["dose"] else None,
        flags=tuple(FlagView(each["code"], flag_words(each["code"]), each["subject"]) for each in document["flags"]),
        tier=document["tier"]["tier"].replace("_", " "),
        caveats=tuple(each.replace("_", " ") for each in document["tier"]["caveats"]),
        icd=document["icd"]["status"].replace("_", " "),
        icd_codes=tuple(document["icd"]["codes"]),
        billing=tuple(document["billing"]),
    )


def _criterion(key: str, result: Mapping[str, Any], guideline: Guideline | None) -> CriterionView:
    stated = guideline.criteria.get(key) if guideline else None
    facts = guideline.facts if guideline else {}
    return CriterionView(
        id=key,
        text=stated.text if stated else "",
        cite=stated.cite if stated else "",
        status=result["status"],
        told=tuple(told(each) for each in result["evidence"]),
        missing=tuple(facts[name].text if name in facts else name for name in result["missing"]),
    )


def told(evidence: Mapping[str, Any]) -> Told:
    """Evidence told apart by who says it: an answer of a form, the chart, or arithmetic over the chart.

    A length over several prescriptions, a relief in percent, an age: no single entry of the chart says it.
    """
    source, shows = evidence["source"], evidence["shows"]
    if source.startswith("QuestionnaireResponse"):
        by = "attestation"
    elif "/" not in source or " days in all" in shows or "%" in shows or shows.endswith(" years old"):
        by = "computed"
    else:
        by = "chart"
    return Told(by, source, evidence["date"] or "", shows)


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
