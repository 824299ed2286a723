"""Patients whose preliminary trial is ordered (section I of the guideline)."""

from __future__ import annotations

from datetime import date

import msgspec

from sandbox_ehr.codes import INGREDIENTS
from sandbox_ehr.order_form import Ingredient, OrderForm
from sandbox_ehr.patients.chart import Chart
from sandbox_ehr.patients.sample import OPIOIDS_FAILED, TRIAL_ANSWERS, Sample

GROUP = "Preliminary trial"


_ORDER = OrderForm(
    drug="morphine",
    ingredients=(Ingredient("morphine", "2", "mg/mL"),),
    volume="20",
    rate="0.5",
    rate_unit="mL/d",
)


def trial_order(reason: str, **changes: object) -> OrderForm:
    """A small morphine infusion by a temporary catheter."""
    return msgspec.structs.replace(_ORDER, reason=reason, **changes)


def ready(as_of: date) -> Sample:
    """Everything that section I asks for is on file."""
    chart = Chart("trial-ready", "Marisol", "Example", "female", "1961-03-14", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.problem("M96.1", "Postlaminectomy syndrome", ago=900)
    chart.ten_weeks_of_morphine("30")
    chart.pain("8", ago=20)
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Marisol Example",
        group=GROUP,
        shows="All answers for a trial are on file: the request is ready to submit.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def facts_missing(as_of: date) -> Sample:
    """The chart proves the opioid's weeks and schedule; the clinician's own judgement is not on file."""
    chart = Chart("trial-facts-missing", "Theodore", "Sample", "male", "1957-11-02", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.22", "Chronic post-thoracotomy pain")
    chart.ten_weeks_of_morphine("60")
    chart.took("7804", "Oxycodone", "5", per_day=4, ago=60, as_needed=True)
    chart.pain("7", ago=12)
    chart.answers(OPIOIDS_FAILED, ago=65)
    return Sample(
        id=chart.ident,
        name="Theodore Sample",
        group=GROUP,
        shows="The chart shows ten weeks of morphine by the clock; what only a clinician can judge is missing.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def gaps(as_of: date) -> Sample:
    """Two courses by the clock with three weeks between them, and tablets if needed: six weeks are not proven."""
    chart = Chart("trial-gaps", "Mathilda", "Example", "female", "1964-10-27", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.took(
        INGREDIENTS["morphine"], "Morphine, extended release", "30", ago=150, until=122, stopped="Admitted to hospital"
    )
    chart.took("7804", "Oxycodone", "5", per_day=4, ago=122, until=101, as_needed=True)
    chart.took(
        INGREDIENTS["morphine"], "Morphine, extended release", "30", ago=101, until=73, stopped="Not enough relief"
    )
    chart.pain("8", ago=70)
    chart.answers(
        {**OPIOIDS_FAILED, "severe_chronic_intractable_pain": "yes", "life_expectancy_ge_3_months": "yes"}, ago=40
    )
    return Sample(
        id=chart.ident,
        name="Mathilda Example",
        group=GROUP,
        shows="Twice four weeks of morphine by the clock, tablets if needed between: the six weeks are asked about.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def too_short(as_of: date) -> Sample:
    """Four weeks of noninvasive treatment: a criterion is not met, a person decides."""
    chart = Chart("trial-too-short", "Ingrid", "Example", "female", "1970-06-30", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.21", "Chronic pain due to trauma")
    chart.took(INGREDIENTS["morphine"], "Morphine, extended release", "15", ago=60, until=32)
    chart.answers({**TRIAL_ANSWERS, "noninvasive_trial_weeks": "4"})
    return Sample(
        id=chart.ident,
        name="Ingrid Example",
        group=GROUP,
        shows="Four weeks of noninvasive treatment, the guideline asks for six: a person decides.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def conflict(as_of: date) -> Sample:
    """The answer and the chart disagree about an infection."""
    chart = Chart("trial-conflict", "Bruno", "Sample", "male", "1966-01-19", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.problem("M46.46", "Discitis, lumbar region", ago=15)
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Bruno Sample",
        group=GROUP,
        shows="Nothing against an implant, say the answers; an active infection, says the chart. Both are shown.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def stale(as_of: date) -> Sample:
    """The attestation is older than the payer accepts."""
    chart = Chart("trial-stale", "Odile", "Example", "female", "1949-09-08", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.3", "Neoplasm related pain")
    chart.answers(TRIAL_ANSWERS, ago=120)
    return Sample(
        id=chart.ident,
        name="Odile Example",
        group=GROUP,
        shows="The attestation is four months old: what may have changed since is asked again, history is not.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def epidural(as_of: date) -> Sample:
    """An epidural infusion at home: the dose table is written for intrathecal orders."""
    chart = Chart("epidural", "Leopold", "Sample", "male", "1953-04-27", as_of)
    chart.coverage()
    chart.encounter("HH", "Home visit")
    reason = chart.problem("G89.3", "Neoplasm related pain")
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Leopold Sample",
        group=GROUP,
        shows="Epidural bupivacaine, 240 mg a day: no dose warning, as the table is about intrathecal orders.",
        resources=tuple(chart.resources),
        order=OrderForm(
            drug="bupivacaine",
            route="epidural",
            ingredients=(Ingredient("bupivacaine", "1.25", "mg/mL"),),
            volume="500",
            rate="8",
            rate_unit="mL/h",
            reason=reason,
        ),
    )


def route_missing(as_of: date) -> Sample:
    """A compounded solution without a route."""
    chart = Chart("route-missing", "Petra", "Example", "female", "1968-12-05", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Petra Example",
        group=GROUP,
        shows="The order does not say where the solution goes: the payer asks instead of guessing.",
        resources=tuple(chart.resources),
        order=trial_order(reason, route=""),
    )
