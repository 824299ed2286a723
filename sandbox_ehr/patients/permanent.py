"""Patients whose permanent pump is ordered or refilled (section II of the guideline)."""

from __future__ import annotations

from datetime import date

import msgspec

from sandbox_ehr.codes import HCPCS, INGREDIENTS
from sandbox_ehr.order_form import Ingredient, OrderForm, Segment
from sandbox_ehr.patients.chart import Chart
from sandbox_ehr.patients.sample import OPIOIDS_FAILED, PERMANENT_ANSWERS, Sample

GROUP = "Permanent pump"


_ORDER = OrderForm(
    drug="morphine",
    ingredients=(Ingredient("morphine", "20", "mg/mL"),),
    volume="20",
    rate="0.25",
    rate_unit="mL/d",
)


def _morphine(reason: str, **changes: object) -> OrderForm:
    return msgspec.structs.replace(_ORDER, reason=reason, **changes)


def ready(as_of: date) -> Sample:
    """Trial, relief and function on file; the pump is ordered beside the drug."""
    chart = Chart("permanent-ready", "Amara", "Example", "female", "1959-05-21", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.ten_weeks_of_morphine("60")
    chart.pain("8", ago=50)
    chart.did("Intrathecal drug trial", ago=40)
    chart.pain("3", ago=36)
    chart.answers({**PERMANENT_ANSWERS, "intraspinal_trial_date": chart.day(40)})
    return Sample(
        id=chart.ident,
        name="Amara Example",
        group=GROUP,
        shows="The trial eased the pain from 8 to 3: pump and drug are ready to submit together.",
        resources=tuple(chart.resources),
        order=_morphine(reason, companions=("E0783", "62362")),
    )


def facts_missing(as_of: date) -> Sample:
    """The scores are in the chart, tolerance and function are not."""
    chart = Chart("permanent-facts-missing", "Casimir", "Sample", "male", "1963-08-17", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.21", "Chronic pain due to trauma")
    chart.ten_weeks_of_morphine("30")
    chart.pain("9", ago=45)
    chart.did("Intrathecal drug trial", ago=38, cpt="62323")
    chart.pain("4", ago=34)
    chart.answers(OPIOIDS_FAILED, ago=50)
    return Sample(
        id=chart.ident,
        name="Casimir Sample",
        group=GROUP,
        shows="Pain scores before and after the trial, no word on tolerance and function: those are asked for.",
        resources=tuple(chart.resources),
        order=_morphine(reason, companions=("E0783",)),
    )


def mixture(as_of: date) -> Sample:
    """Two drugs in one reservoir, a flex schedule, all within the table."""
    chart = Chart("mixture", "Noor", "Example", "female", "1972-02-11", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.22", "Chronic post-thoracotomy pain")
    chart.answers({**PERMANENT_ANSWERS, "predominantly_neuropathic": "yes"})
    return Sample(
        id=chart.ident,
        name="Noor Example",
        group=GROUP,
        shows="Morphine with bupivacaine, by day and by night: second line, within the table, with a billing note.",
        resources=tuple(chart.resources),
        order=OrderForm(
            drug="morphine-bupivacaine",
            ingredients=(Ingredient("morphine", "10", "mg/mL"), Ingredient("bupivacaine", "20", "mg/mL")),
            volume="40",
            delivery="flex",
            segments=(Segment("16", "0.02"), Segment("8", "0.03")),
            reason=reason,
            companions=("E0783",),
        ),
    )


def refill(as_of: date) -> Sample:
    """A refill of a running pump, without an authorization on file."""
    chart = Chart("refill", "Hugo", "Sample", "male", "1955-10-09", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery", ago=1500)
    chart.pump(HCPCS, ago=700)
    running = chart.pump_solution((INGREDIENTS["morphine"], "morphine", "20"), "0.25", ago=90)
    chart.answers({**PERMANENT_ANSWERS, "request_type": "refill_or_renewal"})
    return Sample(
        id=chart.ident,
        name="Hugo Sample",
        group=GROUP,
        shows="A refill: the guideline states no criteria for renewals. That is said, and a person decides.",
        resources=tuple(chart.resources),
        order=_morphine(reason, replaces=running, companions=("A4220",)),
    )


def authorized(as_of: date) -> Sample:
    """The payer has an authorization on file for this member."""
    chart = Chart("authorized", "Zelda", "Example", "female", "1964-07-03", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.3", "Neoplasm related pain", ago=700)
    chart.pump(HCPCS, ago=200)
    running = chart.pump_solution((INGREDIENTS["morphine"], "morphine", "20"), "0.2", ago=60)
    return Sample(
        id=chart.ident,
        name="Zelda Example",
        group=GROUP,
        shows="An authorization in force covers the order: its number comes back on the order, and no card disturbs.",
        resources=tuple(chart.resources),
        order=_morphine(reason, replaces=running),
        authorization=_on_file(chart, "SAMPLE-AUTH-0001"),
    )


def pending(as_of: date) -> Sample:
    """A request for this member waits at the payer."""
    chart = Chart("request-pending", "Eskil", "Example", "male", "1956-02-08", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.answers(PERMANENT_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Eskil Example",
        group=GROUP,
        shows="A request is with the payer already: one line tells its state, nothing is asked twice.",
        resources=tuple(chart.resources),
        order=_morphine(reason),
        authorization=_on_file(chart, "SAMPLE-AUTH-0002", status="pending", due=f"{chart.day(-2)}T17:00:00Z"),
    )


def _on_file(chart: Chart, number: str, **changes: str) -> dict[str, str]:
    plain = {
        "number": number,
        "member_id": chart.member(),
        "status": "active",
        "drugs": "morphine",
        "route": "intrathecal",
        "start": chart.day(30),
        "end": chart.day(-334),
        "max_daily": "morphine=15 mg/d",
        "billing": "J2274",
        "due": "",
    }
    return {**plain, **changes}
