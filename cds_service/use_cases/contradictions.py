"""What a request says against itself, or what stands in its chart against its order (decisions 6).

Each question is answered by whether nothing speaks against an approval by machine; what cannot be read does so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, Final

from cds_service.domain.determination import OrderDetermination
from cds_service.domain.dosing import NOT_ORDERED, NOT_RUNNING
from cds_service.domain.order import Order
from cds_service.domain.prior_auth_rules import PriorAuthRules, WaitingAmount
from cds_service.domain.record import Answer, Code, Intolerance
from cds_service.domain.vocabulary import ICD10CM, Vocabulary, canonical
from cds_service.fhir.chart import Chart, source
from cds_service.fhir.concepts import codings, dicts, word
from cds_service.fhir.coverage import OURS, KnownPayer, payer_of
from cds_service.fhir.dates import day
from cds_service.fhir.drug_words import drugs_of
from cds_service.fhir.orders import read_order
from cds_service.fhir.pas.request import PasRequest, RequestedLine
from cds_service.fhir.prescribers import person_never_prescribes
from cds_service.fhir.routes import NEURAXIAL

Resource = dict[str, Any]
Path = tuple[str, ...]

_ZONES: Final = timedelta(days=1)  # the sender's day may be one ahead of ours
_OLDEST_PERSON: Final = 125  # years
_ORDER_PERIODS: Final[tuple[Path, ...]] = (
    ("dispenseRequest", "validityPeriod"),
    ("occurrencePeriod",),
    ("occurrenceTiming", "repeat", "boundsPeriod"),
)
_DOSAGE_PERIOD: Final[Path] = ("timing", "repeat", "boundsPeriod")
_MEMBER: Final = "MB"
_WORDS: Final = re.compile(r"[a-z]+")


def dates_fit(
    request: PasRequest, line: RequestedLine, order: Resource, period: tuple[date, date] | None, as_of: date, days: int
) -> bool:
    """Nothing was written on a day to come, no period ends before it begins, and order and service begin in time.

    In time: before the last day that would be authorized. ``days``: how old an order may be.
    """
    claim, patient = request.local.resources[0], request.local.resources[request.patient.index]
    written = [claim.get("created"), request.bundle.raw.get("timestamp"), order.get("authoredOn")]
    if any(_after(each, as_of + _ZONES) for each in (*written, patient.get("birthDate"))):
        return False
    born, authored = day(patient.get("birthDate")), day(order.get("authoredOn"), last=True)
    if born is not None and as_of.year - born.year > _OLDEST_PERSON:
        return False
    if authored is not None and (as_of - authored).days > days:
        return False
    periods = [_at(order, path) for path in _ORDER_PERIODS]
    doses = [_at(dosage, _DOSAGE_PERIOD) for dosage in dicts(order.get("dosageInstruction"))]
    periods += [_at(line.raw, ("servicedPeriod",)), *doses]
    if any(_reversed(each) for each in periods):
        return False
    if period is None:
        return True
    begins = [each.get("start") for each in periods[: -len(doses) or None] if type(each) is dict]
    begins += [line.raw.get("servicedDate"), order.get("occurrenceDateTime")]
    dosed = [each.get("start") if type(each) is dict else None for each in doses]
    return not any(_after(each, period[1]) for each in begins) and not (
        dosed and all(_after(each, period[1]) for each in dosed)
    )


def of_age(request: PasRequest, as_of: date, years: int) -> bool:
    """The patient is not known to be younger: limits of doses are those of adults.

    PAS lets a request go without a date of birth; one that is sent must be readable.
    """
    patient = request.local.resources[request.patient.index]
    if "birthDate" not in patient:
        return True
    born = day(patient["birthDate"], last=True)
    return born is not None and (as_of.year - born.year, (as_of.month, as_of.day) >= (born.month, born.day)) >= (
        years,
        True,
    )


def _after(value: Any, last: date) -> bool:
    if value is None:
        return False
    first = day(value)
    return first is None or first > last


def _reversed(value: Any) -> bool:
    if type(value) is not dict:
        return False
    start, end = day(value.get("start")), day(value.get("end"), last=True)
    return start is not None and end is not None and end < start


def _at(value: Any, path: Iterable[str]) -> Any:
    for name in path:
        value = value.get(name) if type(value) is dict else None
    return value


def order_by_prescriber(chart: Chart, order: Resource) -> bool:
    """The order's requester is nobody who is known not to prescribe."""
    return not person_never_prescribes(chart, order.get("requester"), order)


def member_told_once(request: PasRequest) -> bool:
    """Patient and Coverage bear one member number in each system, and the subscriber's own is no other one."""
    local = request.local.resources
    patient, coverage = local[request.patient.index], local[request.coverage.index]
    numbers: dict[str, set[str]] = {}
    for holder in (patient, coverage):
        for each in dicts(holder.get("identifier")):
            if any(word(coding.get("code")) == _MEMBER for coding in codings(each.get("type"))):
                numbers.setdefault(word(each.get("system")), set()).add(word(each.get("value")).strip())
    if any(len(held) > 1 for held in numbers.values()) or _bears_one(request, numbers):
        return False
    subscriber = word(coverage.get("subscriberId")).strip()
    own = any(word(coding.get("code")) in {"18", "self"} for coding in codings(coverage.get("relationship")))
    held = {number for each in numbers.values() for number in each}
    # Contracts are numbered with or without the person's place in them: M123 and M12301 are one subscriber.
    return not (own and subscriber and held) or any(
        each.startswith(subscriber) or subscriber.startswith(each) for each in held
    )


def _bears_one(request: PasRequest, numbers: Mapping[str, Collection[str]]) -> bool:
    """Another Patient in the Bundle has one of these numbers too."""
    for entry, resource in zip(request.bundle.entries, request.local.resources, strict=True):
        if entry.kind == "Patient" and entry.index != request.patient.index:
            for each in dicts(resource.get("identifier")):
                if word(each.get("value")).strip() in numbers.get(word(each.get("system")), ()):
                    return True
    return False


def nobody_else_pays(request: PasRequest, chart: Chart, payer: KnownPayer) -> bool:
    """No accident for which somebody else may be liable, and every payor of the Coverage is this payer."""
    claim, coverage = request.local.resources[0], request.local.resources[request.coverage.index]
    payors = [payer_of(chart, each, coverage, payer)[0] for each in dicts(coverage.get("payor"))]
    return "accident" not in claim and all(each == OURS for each in payors)


def medical_policy(request: PasRequest, others: Collection[str]) -> bool:
    """The type of the Coverage, by code or in words, is none of those that do not pay for medical care."""
    kind = request.local.resources[request.coverage.index].get("type")
    named = [word(coding.get(key)) for coding in codings(kind) for key in ("code", "display")]
    named += [word(kind.get("text"))] if type(kind) is dict else []
    plain = {"".join(filter(str.isalnum, each.casefold())) for each in named}
    return plain.isdisjoint("".join(filter(str.isalnum, each.casefold())) for each in others)


def no_allergy(intolerances: Sequence[Intolerance], order: Order, vocabulary: Vocabulary) -> bool:
    """No active allergy or intolerance to a drug of the order, or to what kind of drug it is, is in the chart."""
    drugs = {part.name for part in order.solution.drugs() if part.name} if order.solution is not None else set()
    kinds = {
        form
        for known in vocabulary.ingredients.values()
        if known.name in drugs
        for role in known.roles
        for form in (role, f"{role}s")
    }
    for each in intolerances:
        words = set(_WORDS.findall(each.text.lower()))
        named = {vocabulary.drug_words.get(found) for found in words}
        named.update(name for code in each.codes for name in drugs_of(code, vocabulary))
        if each.active and (named & drugs or words & kinds):
            return False
    return True


def nothing_else_runs(chart: Chart, order: Order, determination: OrderDetermination, vocabulary: Vocabulary) -> bool:
    """Nothing in the chart gives a drug of the order by its route, or by none that is said, beyond what was counted.

    Orders that were counted stand in the dose; a statement of what the patient receives is no order, and may tell of
    this very therapy: it speaks against the order where it tells of more, or of an amount that is not known.
    """
    ordered = {given.ingredient: given.mg_per_day for given in order.contributions}
    counted = {name for each in determination.dose for name in each.orders} | {order.source, *order.prior}
    for resource in _running(chart):
        name = source(resource)
        other = read_order(resource, chart.resolve, vocabulary, draft=False, source=name, host=chart.host)
        neuraxial = other.route in NEURAXIAL or (
            other.route is None and other.solution is not None and other.solution.product_neuraxial
        )
        if name in counted or not neuraxial or (order.route in NEURAXIAL and _apart(order, other)):
            continue
        stated = resource.get("resourceType") == "MedicationStatement"
        for given in other.contributions:
            asked = ordered.get(given.ingredient)
            if given.ingredient in ordered and not (stated and _within(given.mg_per_day, asked)):
                return False
    return True


def _running(chart: Chart) -> Iterator[Resource]:
    for kind in ("MedicationRequest", "MedicationStatement"):
        for resource in chart.of(kind):
            ended = word(resource.get("status")) in NOT_RUNNING | {"not-taken", "unknown"}
            if (
                not ended
                and word(resource.get("intent")) not in NOT_ORDERED
                and resource.get("doNotPerform") is not True
            ):
                yield resource


def _apart(order: Order, other: Order) -> bool:
    """Two known routes that are not one: what is given epidurally does not add to what is given intrathecally."""
    return other.route is not None and other.route is not order.route


def _within(amount: Fraction | None, asked: Fraction | None) -> bool:
    return amount is not None and asked is not None and amount <= asked


def diagnoses_meet(line: RequestedLine, order: Order) -> bool:
    """A diagnosis of the line is of the same category as a reason of its order, where both are coded in ICD-10-CM."""
    asked = {canonical(Code(ICD10CM, code)).code[:3] for code in line.diagnoses}
    reasons = {canonical(code).code[:3] for code in order.reasons if code.system == ICD10CM}
    return not asked or not reasons or bool(asked & reasons)


def answers_plain(pas: PriorAuthRules, answers: Sequence[Answer], as_of: date) -> bool:
    """No answer that counts is one that the payer wants to be looked at, or is a day to come."""
    counting = [each for each in answers if each.counts]
    wanted = {(each.question, answer) for each in pas.waiting_answers for answer in each.answers}
    if any((each.fact, each.value) in wanted for each in counting):
        return False
    if any(isinstance(each.value, date) and each.value > as_of + _ZONES for each in counting):
        return False
    amounts = {each.fact: each.value for each in counting if isinstance(each.value, Fraction)}
    return not any(_waits(each, amounts) for each in pas.waiting_amounts)


def _waits(rule: WaitingAmount, amounts: Mapping[str, Fraction]) -> bool:
    amount, other = amounts.get(rule.question), amounts.get(rule.not_below)
    if amount is None:
        return False
    return (rule.most is not None and amount > rule.most) or (other is not None and amount >= other)
