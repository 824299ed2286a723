"""The queue of a payer's reviewers: which cases wait, how urgent they are, and whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from cds_service.domain.prior_auth import AuditEntry, Case, CaseLine, CaseState, ReviewAction
from cds_service.domain.review import Person
from cds_service.errors import Conflict, NotFound
from cds_service.ports import Clock
from cds_service.prior_auth_ports import CaseStore
from cds_service.review_ports import QueueQuery, ReviewReads
from cds_service.use_cases.review_words import Due, due_of

PAGE_LENGTH = 25
MINE, NOBODY = "mine", "unassigned"
OTHER_REASON = "other"


class QueueFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer wants to see; "" leaves a choice open. ``assigned``: mine, unassigned or ""."""

    state: str = "pended"
    program: str = ""
    urgency: str = ""  # expedited | standard
    drug: str = ""
    reason: str = ""
    assigned: str = ""
    number: str = ""
    page: int = 1


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One case of the list."""

    case: Case
    due: Due
    reviewer: str  # name of whom it is assigned to
    asked: str  # "morphine, intrathecal; pump"
    reasons: tuple[str, ...]  # to filter by
    why: tuple[str, ...]  # in words, where no criterion says it
    drugs: tuple[str, ...]


class QueuePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the list, and the choices that would lead to others."""

    rows: tuple[QueueRow, ...]
    total: int
    page: int
    pages: int
    counts: Mapping[str, int]  # cases in each state
    levels: Mapping[str, int]  # cases of this list at each due level
    programs: tuple[str, ...]
    drugs: tuple[str, ...]
    reasons: tuple[str, ...]
    cut: bool  # there are more than were looked at


class ReviewQueue:
    """Lists, and assignment."""

    def __init__(self, cases: CaseStore, reads: ReviewReads, clock: Clock) -> None:
        """``cases`` and ``reads`` are of the same database."""
        self._cases = cases
        self._reads = reads
        self._clock = clock

    def page(self, wanted: QueueFilter, person: Person) -> QueuePage:
        """One page; earliest due first."""
        now = self._clock.now()
        query = QueueQuery(
            state="" if wanted.number else wanted.state,
            program=wanted.program,
            expedited={"expedited": True, "standard": False}.get(wanted.urgency),
            assigned={MINE: person.id, NOBODY: "-"}.get(wanted.assigned, ""),
            number=wanted.number,
        )
        found = self._reads.queue(query)
        names = self._reads.names()
        every = [_row(case, now, names) for case in found]
        rows = [row for row in every if _matches(row, wanted)]
        pages = max(1, -(-len(rows) // PAGE_LENGTH))
        page = min(max(1, wanted.page), pages)
        return QueuePage(
            rows=tuple(rows[(page - 1) * PAGE_LENGTH : page * PAGE_LENGTH]),
            total=len(rows),
            page=page,
            pages=pages,
            counts=self._reads.counts(),
            levels=Counter(row.due.level for row in rows),
            programs=_sorted(row.case.program for row in every),
            drugs=_sorted(drug for row in every for drug in row.drugs),
            reasons=_sorted(reason for row in every for reason in row.reasons),
            cut=len(found) >= query.most,
        )

    def take(self, case_id: str, person: Person) -> None:
        """The case is mine from now on. Raises NotFound, Conflict."""
        self._assign(case_id, person, person.id, "take")

    def release(self, case_id: str, person: Person) -> None:
        """Anybody may have it. Raises NotFound, Conflict."""
        self._assign(case_id, person, "", "release")

    def _assign(self, case_id: str, person: Person, to: str, action: str) -> None:
        if self._cases.case(case_id) is None:
            raise NotFound("no such case")
        entry = AuditEntry(self._clock.now(), person.id, person.role.value, action, f"case/{case_id}")
        if not self._cases.assign(case_id, to, entry):
            raise Conflict("this case does not wait for a decision any more")


def reasons_of(lines: Sequence[CaseLine]) -> tuple[str, ...]:
    """Why a case waits, as short words that can be filtered by: a criterion, a provision, or "other"."""
    pended = [line for line in lines if line.action is ReviewAction.PENDED and not line.cancelled]
    return _sorted(reason.criterion or reason.provision or OTHER_REASON for line in pended for reason in line.reasons)


def _why(lines: Sequence[CaseLine]) -> tuple[str, ...]:
    """The reasons without a criterion or provision, each once, in the order of the lines."""
    pended = [line for line in lines if line.action is ReviewAction.PENDED and not line.cancelled]
    said = [each.text for line in pended for each in line.reasons if not (each.criterion or each.provision)]
    return tuple(dict.fromkeys(said))


def asked_for(lines: Sequence[CaseLine]) -> str:
    """What is asked for, in a few words."""
    said = []
    for line in lines:
        drugs = " + ".join(line.drugs)
        word = f"{drugs}{f', {line.route}' if line.route else ''}" if drugs else line.text or line.kind.value
        if word not in said:
            said.append(word)
    return "; ".join(said)


def _row(case: Case, now: datetime, names: Mapping[str, str]) -> QueueRow:
    lines = case.summary.lines
    waits = case.state is CaseState.PENDED
    return QueueRow(
        case=case,
        due=due_of(case.received, case.due if waits else None, now),
        reviewer=names.get(case.assigned_to, case.assigned_to),
        asked=asked_for(lines),
        reasons=reasons_of(lines),
        why=_why(lines),
        drugs=_sorted(drug for line in lines for drug in line.drugs),
    )


def _matches(row: QueueRow, wanted: QueueFilter) -> bool:
    return (not wanted.drug or wanted.drug in row.drugs) and (not wanted.reason or wanted.reason in row.reasons)


def _sorted(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word}))
