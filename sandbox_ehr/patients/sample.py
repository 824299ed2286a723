"""What a sample patient is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.order_form import OrderForm


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One made-up patient: the chart, one line on what it shows, and an example order."""

    id: str
    name: str
    group: str
    shows: str
    resources: tuple[Resource, ...]
    order: OrderForm
    authorization: Mapping[str, str] | None = None  # a row of the payer's authorizations file


# What a complete set of answers says for a trial, and what a permanent pump needs beside it.
TRIAL_ANSWERS = {
    "request_type": "trial",
    "severe_chronic_intractable_pain": "yes",
    "life_expectancy_ge_3_months": "yes",
    "noninvasive_trial_outcome": "failure",
    "noninvasive_trial_weeks": "10",
    "systemic_opioid_included": "yes",
    "systemic_opioid_fixed_schedule": "yes",
    "systemic_opioid_adequate_dose": "yes",
    "implant_contraindications_eliminated": "yes",
}
# What an earlier form says of the time before: history, which is asked once.
OPIOIDS_FAILED = {"noninvasive_trial_outcome": "failure", "systemic_opioid_adequate_dose": "yes"}
PERMANENT_ANSWERS = {
    **TRIAL_ANSWERS,
    "request_type": "permanent",
    "intraspinal_trial_done": "yes",
    "intraspinal_trial_drug_class": "opioid",
    "intraspinal_trial_tolerated": "yes",
    "intraspinal_trial_pain_baseline": "8",
    "intraspinal_trial_pain_after": "3",
    "intraspinal_trial_pain_relief_acceptable": "yes",
    "intraspinal_trial_function_improved": "yes",
}
