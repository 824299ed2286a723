"""SMART scopes: what is granted of what is asked, and what a granted scope permits."""

from __future__ import annotations

import pytest

from sandbox_ehr.scopes import granted, permits, within

ALLOWED = "launch openid fhirUser patient/*.rs patient/QuestionnaireResponse.crus user/Practitioner.r"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("launch openid", "launch openid"),
        ("launch/patient", ""),  # not registered
        ("patient/*.rs", "patient/*.rs"),
        ("patient/*.cruds", "patient/*.rs patient/QuestionnaireResponse.crus"),  # each type gets what it may
        ("patient/Condition.rs", "patient/Condition.rs"),
        ("patient/Condition.r", "patient/Condition.r"),  # never more than was asked
        ("patient/Condition.cruds", "patient/Condition.rs"),
        ("patient/QuestionnaireResponse.cu", "patient/QuestionnaireResponse.cu"),
        ("patient/QuestionnaireResponse.d", ""),
        ("patient/Condition.read", "patient/Condition.read"),  # SMART v1 is answered in v1
        ("patient/QuestionnaireResponse.write", "patient/QuestionnaireResponse.cu"),  # v1 has no word for less
        ("patient/*.*", "patient/*.rs patient/QuestionnaireResponse.crus"),
        ("user/*.cruds", "user/Practitioner.r"),
        ("user/Condition.r", ""),
        ("system/*.rs", ""),
        ("patient/Condition.sr", ""),  # letters in another order are no scope
        ("patient/Condition.", ""),
        ("patient/Condition.rs?category=x", ""),  # not enforced, so not granted
        ("openid openid", "openid"),
        ("weather", ""),
    ],
)
def test_SM14_scopes_are_granted_as_the_overlap_of_asked_and_registered(asked, given):
    assert granted(asked, ALLOWED) == given


@pytest.mark.parametrize(
    ("narrower", "wider", "fits"),
    [
        ("patient/*.rs", "patient/*.rs openid", True),
        ("patient/Condition.r", "patient/*.rs", True),
        ("patient/*.cruds", "patient/*.rs", False),
        ("openid", "patient/*.rs", False),
    ],
)
def test_SM43_a_refresh_never_widens(narrower, wider, fits):
    assert within(narrower, wider) is fits


@pytest.mark.parametrize("right", list("cruds"))
def test_each_right_is_a_letter_of_its_own(right):
    assert permits(f"patient/Task.{right}", "Task", right)
    assert not any(permits(f"patient/Task.{right}", "Task", other) for other in set("cruds") - {right})
    assert not permits(f"patient/Task.{right}", "Task", right, "user")
