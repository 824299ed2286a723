"""Flag codes of the determination document and what each means, for the published CodeSystem."""

from __future__ import annotations

FLAGS = {
    "acute_care_setting": "The order belongs to acute care, which the guideline does not address.",
    "active_infection": "An active infection is recorded; the subject names the resource.",
    "anticoagulant": "An anticoagulant is ordered or its long-term use is recorded.",
    "code_conflict": "A code of the guideline is printed beside another drug than its national meaning.",
    "compounded_code_to_confirm": "The code for a compounded drug is to be confirmed for this drug.",
    "concentration_exceeds": "The concentration of the named ingredient is above the guideline's table.",
    "conflict": "Two sources contradict each other; the fact is unknown until a person settles it.",
    "contrary_evidence": "The chart holds evidence against an answer or criterion.",
    "coverage_unknown": "The payer or program of the patient's Coverage cannot be told.",
    "dose_exceeds": "The daily amount of the named ingredient is above the guideline's table.",
    "dose_shape_unusual": "The dosage was given in an unusual element and read by a stated rule.",
    "drug_dx_mismatch": "Drug and diagnosis do not usually belong together; advice only.",
    "dx_not_linked_to_order": "The supporting diagnosis is on the problem list, not on the order.",
    "icd_missing": "The order names no diagnosis.",
    "icd_not_listed": "The diagnosis of the order is not on the guideline's list; advice only.",
    "incomplete_data": "A type of resource could not be seen, or not wholly; the subject names it.",
    "medicare": "Medicare Advantage: another policy applies.",
    "non_ucum_unit": "A unit was not sent in UCUM and was read by an alias.",
    "other_drug_running": "Another neuraxial drug is running beside the order.",
    "pain_reduction_below_50_percent": "The computed pain reduction is below the guideline's example.",
    "patient_unknown": "The order does not say whose it is; nothing of a chart was used for it.",
    "policy_not_in_force": "No version of the guideline is in force on this day; the nearest one was used.",
    "possible_unit_error": "The amount looks like an error of units.",
    "renewal_criteria_not_stated": "The guideline states no criteria for refills and renewals.",
    "route_missing": "The order gives no route.",
    "second_line_acceptable_first_if_neuropathic": "A second-line regimen that may come first in neuropathic pain.",
    "stale_attestation": "An answer is older than its maximum age and counts as unknown.",
    "trial_drug_not_opioid": "The trial was done with another drug than an opioid.",
}
