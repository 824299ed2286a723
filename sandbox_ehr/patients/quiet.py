"""Patients for whom there is nothing to say: the guideline is not about their order."""

from __future__ import annotations

from datetime import date

from sandbox_ehr.order_form import Ingredient, OrderForm
from sandbox_ehr.patients.chart import Chart
from sandbox_ehr.patients.sample import Sample

GROUP = "No card at all"


def labour(as_of: date) -> Sample:
    """The commonest epidural of all."""
    chart = Chart("labour", "Juno", "Example", "female", "1994-06-02", as_of)
    chart.coverage()
    chart.encounter("IMP", "Labour ward")
    chart.problem("", "Labour at term", ago=0)
    return Sample(
        id=chart.ident,
        name="Juno Example",
        group=GROUP,
        shows="An epidural in labour: acute care, not this guideline's subject. No card, no delay.",
        resources=tuple(chart.resources),
        order=OrderForm(
            drug="bupivacaine",
            route="epidural",
            ingredients=(Ingredient("bupivacaine", "1", "mg/mL"), Ingredient("fentanyl", "2", "ug/mL")),
            volume="250",
            rate="8",
            rate_unit="mL/h",
        ),
    )


def oral(as_of: date) -> Sample:
    """A guideline drug by another route."""
    chart = Chart("oral-morphine", "Tobias", "Sample", "male", "1951-09-14", as_of)
    chart.coverage()
    chart.encounter()
    reason = chart.problem("G89.3", "Neoplasm related pain")
    return Sample(
        id=chart.ident,
        name="Tobias Sample",
        group=GROUP,
        shows="Morphine tablets: a drug of the guideline by a route that it does not speak of.",
        resources=tuple(chart.resources),
        order=OrderForm(drug="morphine-oral", route="oral", delivery="dose", dose="15", times="4", reason=reason),
    )


def methotrexate(as_of: date) -> Sample:
    """The guideline's route with another drug."""
    chart = Chart("methotrexate", "Linnea", "Example", "female", "1982-10-20", as_of)
    chart.coverage()
    chart.encounter()
    chart.problem("", "Lymphoma with central nervous system involvement")
    return Sample(
        id=chart.ident,
        name="Linnea Example",
        group=GROUP,
        shows="Intrathecal chemotherapy: the route of the guideline, but none of its drugs.",
        resources=tuple(chart.resources),
        order=OrderForm(drug="methotrexate", route="intrathecal", delivery="dose", dose="12", times="1", once=True),
    )
