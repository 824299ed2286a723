"""The one dose card: when it warns, when it is critical, when it may stay quiet."""

from fractions import Fraction

import msgspec
import pytest

from cds_service.cds_hooks.answers import technical_answer
from cds_service.cds_hooks.card_details import dose_lines
from cds_service.cds_hooks.dose_card import Acknowledger, dose_card
from cds_service.domain.authorization import OnFile
from cds_service.domain.determination import Program, Verdict
from cds_service.domain.vocabulary import RouteGroup
from tests.support.hook_calls import AUTHORIZATION, DRAFT, OURS, TEXTS, answered, dose, draft, judged, missing, order

replace = msgspec.structs.replace
WHO = Acknowledger(b"a key of the operator", "ehr", "pat-1", "Practitioner/pr-1")
SECOND = "MedicationRequest/draft-2"
UNIT = dose("150", unit_error=True)


def card(*said, orders=None, who=WHO):
    orders = orders or {each.order: order(each.order) for each in said}
    return dose_card(TEXTS, said, orders, {DRAFT: draft()}, who)


def above(daily="16", strength="20", **changes):
    return answered(judged(dose=(dose(daily, strength),), **changes))


def test_crd_159_above_the_table_is_a_warning():
    made = card(above())
    assert (made.indicator, made.rule, made.topic) == ("warning", "dose-exceeds", "off-guideline")
    assert made.summary == "Morphine 16 mg/d is above the guideline table's 15 mg/d"
    assert made.overridable


@pytest.mark.parametrize(
    ("daily", "strength", "shown"),
    [
        ("15", "30", False),  # the limits are inclusive
        ("15.0000001", "30", True),
        ("15", "30.0000001", True),
        (None, None, False),  # what cannot be determined is no warning
    ],
)
def test_both_sides_of_the_limit(daily, strength, shown):
    assert (card(above(daily, strength)) is not None) == shown


def test_crd_159_critical_only_for_a_suspected_unit_error():
    made = card(answered(judged(dose=(UNIT,))))
    assert (made.indicator, made.rule) == ("critical", "dose-unit-error")
    assert made.summary == "Check the unit: morphine 150 mg/d is above the guideline table's 15 mg/d"


def test_no_limit_stated_is_no_warning():
    epidural = dose("240", daily_limit=None, daily_verdict=Verdict.NO_LIMIT_STATED, concentration_limit=None)
    assert card(answered(judged(dose=(epidural,)))) is None


def test_the_detail_shows_the_arithmetic_the_limit_and_its_source():
    detail = card(above()).detail
    for text in (
        "The table is informational; the order can be signed as it is.",
        "morphine 16 mg/d: **above** the table's 15 mg/d\n",
        "morphine 20 mg/mL: within the table's 30 mg/mL",
        "0.6 mL/d x 20 mg/mL = 12 mg/d",
        "Limits from guideline 09-J1000-31: DOSAGE/ADMINISTRATION, table, Morphine. The table's concentrations",
        "Not an authorization",
        "Informational only",
        "Order: morphine 20 mg/mL",
    ):
        assert text in detail
    assert "denied" not in detail


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (dose("31"), "morphine 31 mg/d: **above** the table's 15 mg/d (over 2 times that)"),
        (dose("30"), "morphine 30 mg/d: **above** the table's 15 mg/d (2 times that)"),
        (dose("16", None), "morphine concentration: cannot be told from the order"),
        (dose(None, "31"), "morphine daily dose: cannot be told from the order"),
        (dose("16", steps=("500 ug / 1 mL = 0.5 mg/mL",)), "500 mcg / 1 mL = 0.5 mg/mL"),
        (
            dose("1", "31", daily_limit=None, daily_verdict=Verdict.NO_LIMIT_STATED),
            "morphine 1 mg/d: no limit stated in the guideline\n",
        ),
    ],
)
def test_a_value_and_its_limit_in_one_line(result, line):
    assert line in card(answered(judged(dose=(dose("16"), result)))).detail


def test_no_limit_for_the_route_has_no_source_of_limits():
    none = {"daily_limit": None, "concentration_limit": None}
    epidural = dose("240", **none, daily_verdict=Verdict.NO_LIMIT_STATED, concentration_verdict=Verdict.NO_LIMIT_STATED)
    text = "\n".join(dose_lines(TEXTS, [epidural]))
    assert "morphine 240 mg/d: no limit stated in the guideline for this route" in text
    assert "Limits from" not in text
    unclear = dose("1", **none, daily_verdict=Verdict.CANNOT_BE_DETERMINED)
    assert "morphine 1 mg/d: not compared with the table, because the route is not clear" in "\n".join(
        dose_lines(TEXTS, [unclear])
    )


@pytest.mark.parametrize(
    ("said", "to_do"),
    [
        (above("16", "20"), "**To do:** check the dose. The table is informational"),
        (above("12", "31"), "**To do:** check the concentration. The table is informational"),
        (above("16", "31"), "**To do:** check the dose and the concentration. The table is informational"),
        (answered(judged(dose=(UNIT,))), "**To do:** check the unit and the decimal point."),
    ],
)
def test_the_detail_opens_with_what_to_do(said, to_do):
    assert card(said).detail.startswith(to_do)


def test_several_points_are_one_card():
    made = card(above("16", "31"))
    assert made.summary.endswith("(and 1 more)")
    shared = dose("16", orders=(DRAFT, SECOND))
    both = card(answered(judged(dose=(shared,))), answered(judged(SECOND, dose=(shared,))))
    assert both.orders == (DRAFT, SECOND)
    assert both.detail.count("- morphine 16 mg/d") == 1  # one cumulated amount, named once
    assert not both.partial


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(above(in_scope=False), id="outside the guideline"),
        pytest.param(above(program=Program.FEP), id="another program's guideline"),
        pytest.param(
            answered(judged(dose=(dose("16"),)), coverage=replace(OURS, active=False)), id="not our member any more"
        ),
        pytest.param(technical_answer([DRAFT], "2.2")[0], id="nothing is known"),
    ],
)
def test_no_warning_where_the_table_does_not_hold(said):
    assert card(said) is None


def granted(**changes):
    return OnFile(granted=replace(AUTHORIZATION, **changes))


def pending(**changes):
    return OnFile(pending=replace(AUTHORIZATION, status="pending", **changes))


@pytest.mark.parametrize(
    ("on_file", "quiet"),
    [
        pytest.param(granted(max_daily={"morphine": "20 mg/d"}), True, id="authorized at this dose"),
        pytest.param(pending(max_daily={"morphine": "20 mg/d"}), True, id="pending at this dose"),
        pytest.param(pending(max_daily={"morphine": "15 mg/d"}), False, id="pending at a lower dose"),
        pytest.param(pending(max_daily={}), False, id="pending without a dose"),
    ],
)
def test_the_quiet_rule_authorized_and_pending(on_file, quiet):
    made = card(answered(judged(dose=(dose("16"),)), on_file=on_file))
    assert (made is None) == quiet


def test_a_suspected_unit_error_is_never_silenced():
    made = card(answered(judged(dose=(UNIT,)), on_file=granted(max_daily={})))
    assert made.rule == "dose-unit-error"
    assert made.quiet_key == ""


def key(daily="16", who=WHO, **ordered):
    return card(above(daily), orders={DRAFT: order(**ordered)}, who=who).quiet_key


def test_the_acknowledgement_key_is_stable_and_tells_nothing():
    assert key() == key()
    assert len(key()) == 32
    for secret in ("pat-1", "pr-1", "morphine"):
        assert secret not in key()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"who": replace(WHO, patient_id="pat-2")}, id="another patient"),
        pytest.param({"who": replace(WHO, user_id="Practitioner/pr-2")}, id="another prescriber"),
        pytest.param({"who": replace(WHO, client="other-ehr")}, id="another EHR"),
        pytest.param({"who": replace(WHO, key=b"another key")}, id="another secret"),
        pytest.param({"daily": "20"}, id="another dose class"),
        pytest.param({"route": RouteGroup.EPIDURAL}, id="another route"),
    ],
)
def test_the_acknowledgement_key_is_of_one_patient_prescriber_route_and_dose_class(other):
    assert key(**other) != key()


def test_within_one_dose_class_a_small_change_stays_acknowledged():
    assert key("16") == key("18.7")  # both in the quarter above the limit
    assert key("18.75") != key("18.76")


def test_missing_facts_beside_a_dose_do_not_change_the_warning():
    assert card(answered(missing(dose=(dose("16"),)))).quiet_key == key()


def test_a_limit_of_nothing_is_not_divided_by():
    none = dose("1", daily_limit=Fraction(0), daily_verdict=Verdict.EXCEEDS)
    assert card(answered(judged(dose=(none,)))).quiet_key
