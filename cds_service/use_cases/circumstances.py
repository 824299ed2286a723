"""What stands around a request and keeps a machine from approving it: payers, patient, dates, contrary diagnoses.

Each question is answered by whether nothing speaks against an approval; what cannot be read speaks against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Final

from cds_service.domain.determination import Program
from cds_service.domain.prior_auth_rules import Contrary
from cds_service.domain.record import Answer, Code
from cds_service.domain.vocabulary import Vocabulary
from cds_service.fhir.chart import Chart
from cds_service.fhir.concepts import dicts
from cds_service.fhir.coverage import FOREIGN, OURS, KnownPayer, payer_of, read_coverage
from cds_service.fhir.dates import day
from cds_service.fhir.pas.request import PasRequest, RequestedLine

Resource = dict[str, Any]

# Where an order says until when it holds, beside its dosage instructions.
_ENDS: Final = (
    ("dispenseRequest", "validityPeriod", "end"),
    ("occurrenceDateTime",),
    ("occurrencePeriod", "end"),
    ("occurrenceTiming", "repeat", "boundsPeriod", "end"),
)
_DOSAGE_END: Final = ("timing", "repeat", "boundsPeriod", "end")
_SERVICE_ENDS: Final = (("servicedDate",), ("servicedPeriod", "end"))


def circumstances(request: PasRequest, chart: Chart, payer: KnownPayer, as_of: date) -> dict[str, bool]:
    """The conditions that all lines of a request share, by their words."""
    claim, patient = request.local.resources[0], request.local.resources[request.patient.index]
    insurer = claim.get("insurer")
    return {
        "insurer_ours": type(insurer) is dict and payer_of(chart, insurer, claim, payer)[0] != FOREIGN,
        "no_other_insurance": not any(_counts(request, chart, payer, as_of)),
        "patient_living": patient.get("deceasedBoolean", False) is False and "deceasedDateTime" not in patient,
        "patient_record_active": patient.get("active", True) is True,
        "rules_known": not any("implicitRules" in each for each in _resources(request)),
    }


def _counts(request: PasRequest, chart: Chart, payer: KnownPayer, as_of: date) -> Iterator[bool]:
    """Of every insurance beside the focal one: whether it may have to pay too, or first.

    A Coverage that comes along without being named by the Claim is one too.
    """
    others = [
        resource
        for entry, resource in zip(request.bundle.entries, request.local.resources, strict=True)
        if entry.kind == "Coverage" and entry.index != request.coverage.index
    ]
    for each in dicts(request.bundle.claim.resource.get("insurance")):
        named = request.bundle.one(each.get("coverage"), request.bundle.claim)
        if each.get("focal") is not True and (named is None or named.kind != "Coverage"):
            yield True  # nobody can tell whose it is
    for coverage in others:
        held = read_coverage(chart, coverage, payer, as_of)
        yield held.active and not (held.payer == OURS and held.program is Program.STANDARD)


def _resources(request: PasRequest) -> Iterator[Resource]:
    """The Bundle, everything in it, and the forms of inner Bundles."""
    yield request.bundle.raw
    for each in (*request.local.resources, *request.local.inner):
        yield each
        yield from dicts(each.get("contained"))


def still_current(line: RequestedLine, order: Resource, as_of: date) -> bool:
    """Neither the service nor its order ended before that day; an order by dosage ends with its last instruction."""
    ends = [_at(order, path) for path in _ENDS] + [_at(line.raw, path) for path in _SERVICE_ENDS]
    doses = [_past(_at(each, _DOSAGE_END), as_of) for each in dicts(order.get("dosageInstruction"))]
    return not any(_past(end, as_of) for end in ends) and not (doses and all(doses))


def covered_throughout(coverage: Resource, period: tuple[date, date]) -> bool:
    """The Coverage holds on every day from the first to the last; an end that cannot be read may be any of them."""
    stated = coverage.get("period")
    if stated is None:
        return True
    if type(stated) is not dict:
        return False
    start, end = day(stated.get("start")), day(stated.get("end"), last=True)
    begun = "start" not in stated or (start is not None and start <= period[0])
    return begun and ("end" not in stated or (end is not None and period[1] <= end))


def ends_within(coverage: Resource, period: tuple[date, date]) -> date | None:
    """The Coverage's last day, where it is before the last of ``period``."""
    stated = coverage.get("period")
    end = day(stated.get("end"), last=True) if type(stated) is dict else None
    return end if end is not None and end < period[1] else None


def _past(end: Any, as_of: date) -> bool:
    if end is None:
        return False
    last = day(end, last=True)
    return last is None or last < as_of


def _at(value: Any, path: Iterable[str]) -> Any:
    for name in path:
        value = value.get(name) if type(value) is dict else None
    return value


def answers_fit(
    contraries: Sequence[Contrary], vocabulary: Vocabulary, answers: Sequence[Answer], codes: tuple[Code, ...]
) -> bool:
    """No diagnosis among ``codes`` speaks against an answer that counts."""
    given: set[tuple[str, object]] = {(each.fact, each.value) for each in answers if each.counts}
    return not any(
        vocabulary.holds(name, codes) is not None
        for each in contraries
        if any((each.question, answer) in given for answer in each.answers)
        for name in each.value_sets
    )
