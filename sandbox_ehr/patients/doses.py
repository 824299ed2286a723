"""Patients whose dose or concentration is above the guideline's table."""

from __future__ import annotations

from datetime import date

from sandbox_ehr.codes import HCPCS
from sandbox_ehr.order_form import Ingredient, OrderForm
from sandbox_ehr.patients.chart import Chart
from sandbox_ehr.patients.sample import PERMANENT_ANSWERS, Sample

GROUP = "Dose and concentration"


def above_table(as_of: date) -> Sample:
    """The basal rate is within; with every permitted bolus it is not."""
    chart = Chart("dose-above", "Viola", "Example", "female", "1958-03-29", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.3", "Neoplasm related pain")
    chart.answers(PERMANENT_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Viola Example",
        group=GROUP,
        shows="10 mg of morphine a day and six boluses of 1 mg: above the table's 15 mg. A warning, never a stop.",
        resources=tuple(chart.resources),
        order=OrderForm(
            drug="morphine",
            ingredients=(Ingredient("morphine", "20", "mg/mL"),),
            volume="40",
            rate="0.5",
            rate_unit="mL/d",
            bolus="1",
            bolus_unit="mg",
            bolus_max="6",
            lockout="120",
            reason=reason,
            companions=("E0783",),
        ),
    )


def unit_error(as_of: date) -> Sample:
    """Milligrams where micrograms are meant."""
    chart = Chart("unit-error", "Rafael", "Sample", "male", "1988-11-23", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G80.1", "Spastic diplegic cerebral palsy", ago=6000)
    chart.pump(HCPCS, ago=500)
    running = chart.pump_solution(("1292", "baclofen", "2"), "0.15", ago=80)
    return Sample(
        id=chart.ident,
        name="Rafael Sample",
        group=GROUP,
        shows="Baclofen 300 mg a day, where 300 micrograms are meant: the one card that is red.",
        resources=tuple(chart.resources),
        order=OrderForm(
            drug="baclofen",
            ingredients=(Ingredient("baclofen", "2", "mg/mL"),),
            volume="20",
            rate="300",
            rate_unit="mg/d",
            reason=reason,
            replaces=running,
        ),
    )


def concentration(as_of: date) -> Sample:
    """Fentanyl stronger than the table's 50 ug/mL."""
    chart = Chart("concentration-above", "Salome", "Example", "female", "1975-01-30", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.28", "Chronic pain after surgery")
    chart.answers(PERMANENT_ANSWERS)
    return Sample(
        id=chart.ident,
        name="Salome Example",
        group=GROUP,
        shows="Fentanyl at 1000 micrograms per mL: above the table's concentration of 50.",
        resources=tuple(chart.resources),
        order=OrderForm(
            drug="fentanyl",
            ingredients=(Ingredient("fentanyl", "1000", "ug/mL"),),
            volume="20",
            rate="0.2",
            rate_unit="mL/d",
            reason=reason,
            companions=("E0783",),
        ),
    )
