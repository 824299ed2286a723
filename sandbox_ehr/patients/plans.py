"""Patients for whom the line of business or the membership decides what is said."""

from __future__ import annotations

from datetime import date

from sandbox_ehr.patients.chart import Chart
from sandbox_ehr.patients.sample import PERMANENT_ANSWERS, TRIAL_ANSWERS, Sample
from sandbox_ehr.patients.trial import trial_order

GROUP = "Plans and membership"


def fep(as_of: date) -> Sample:
    """Federal Employee Program."""
    chart = Chart("plan-fep", "Wanda", "Sample", "female", "1960-04-12", as_of)
    chart.coverage(kind="FEP", plan="FEP")
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Wanda Sample",
        group=GROUP,
        shows="Federal Employee Program: another guideline applies, and one line says which.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def sao(as_of: date) -> Sample:
    """State Account Organization."""
    chart = Chart("plan-sao", "Joachim", "Example", "male", "1967-02-25", as_of)
    chart.coverage(kind="SAO", plan="SAO")
    chart.encounter()
    reason = chart.problem("G89.21", "Chronic pain due to trauma")
    return Sample(
        id=chart.ident,
        name="Joachim Example",
        group=GROUP,
        shows="State Account Organization: as with the federal plan, another guideline applies.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def medicare(as_of: date) -> Sample:
    """Medicare Advantage."""
    chart = Chart("plan-medicare", "Philippa", "Sample", "female", "1947-12-18", as_of)
    chart.coverage(kind="Medicare Advantage", plan="MEDICARE-ADVANTAGE")
    chart.encounter()
    reason = chart.problem("G89.3", "Neoplasm related pain")
    chart.answers(PERMANENT_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Philippa Sample",
        group=GROUP,
        shows="Medicare Advantage: the national determination is named, facts are collected, a person decides.",
        resources=tuple(chart.resources),
        order=trial_order(reason, companions=("E0783",)),
    )


def ended(as_of: date) -> Sample:
    """The membership is over."""
    chart = Chart("coverage-ended", "Gideon", "Example", "male", "1971-05-06", as_of)
    chart.coverage(started=760, ends=30)
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Gideon Example",
        group=GROUP,
        shows="The coverage ended a month ago: the order says so.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )


def other_payer(as_of: date) -> Sample:
    """A member of somebody else."""
    chart = Chart("other-payer", "Mirjam", "Sample", "female", "1969-08-31", as_of)
    chart.coverage(payer="Example Health Plan")
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.answers(TRIAL_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Mirjam Sample",
        group=GROUP,
        shows="Insured elsewhere: this payer says nothing.",
        resources=tuple(chart.resources),
        order=trial_order(reason),
    )
