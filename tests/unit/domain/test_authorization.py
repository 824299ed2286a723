"""Which authorization on file covers an order."""

from datetime import date
from fractions import Fraction

import msgspec
import pytest

from cds_service.domain.authorization import allows, daily_limit, look_up
from cds_service.domain.order import OrderKind, Part, Solution
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import RouteGroup
from tests.support.hook_calls import AS_OF, AUTHORIZATION, dose, order

replace = msgspec.structs.replace
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"


def solution(*names):
    parts = tuple(Part(name, "", name or "herb", (), active=True, concentration=None) for name in names)
    return Solution(parts, "solution")


@pytest.mark.parametrize(
    ("covers", "authorization", "ordered", "results"),
    [
        pytest.param(True, {}, {}, ("12",), id="same drug, route and dose"),
        pytest.param(True, {}, {}, ("15",), id="exactly the amount"),
        pytest.param(False, {}, {}, ("15.000001",), id="a trace more"),
        pytest.param(False, {}, {}, (None,), id="dose cannot be determined"),
        pytest.param(True, {"max_daily": {}}, {}, (None,), id="no amount is limited"),
        pytest.param(True, {"drugs": ()}, {}, ("12",), id="any drug of the guideline"),
        pytest.param(True, {"route": ""}, {"route": RouteGroup.EPIDURAL}, ("12",), id="any neuraxial route"),
        pytest.param(False, {}, {"route": RouteGroup.EPIDURAL}, ("12",), id="another route"),
        pytest.param(False, {}, {"route": None}, ("12",), id="no route given"),
        pytest.param(False, {"drugs": ("hydromorphone",)}, {}, ("12",), id="another drug"),
        pytest.param(False, {}, {"solution": solution("morphine", "clonidine")}, ("12",), id="one drug more"),
        pytest.param(
            False,
            {"drugs": ("clonidine", "morphine")},
            {},
            ("12",),
            id="one drug less: not the mixture that was granted",
        ),
        pytest.param(
            False, {"drugs": ()}, {"solution": solution("morphine", None)}, ("12",), id="an unknown substance"
        ),
        pytest.param(False, {"drugs": ()}, {"solution": None}, ("12",), id="no drug at all"),
        pytest.param(True, {"start": AS_OF, "end": AS_OF}, {}, ("12",), id="first and last day count"),
        pytest.param(False, {"end": date(2026, 3, 1)}, {}, ("12",), id="ended yesterday"),
        pytest.param(False, {"start": date(2026, 3, 3)}, {}, ("12",), id="begins tomorrow"),
        pytest.param(True, {"end": None}, {}, ("12",), id="no end known"),
        pytest.param(False, {"status": "revoked"}, {}, ("12",), id="revoked"),
        pytest.param(False, {"max_daily": {"morphine": "lots"}}, {}, ("12",), id="a limit that cannot be read"),
    ],
)
def test_what_covers_a_drug_order(covers, authorization, ordered, results):
    found = look_up([replace(AUTHORIZATION, **authorization)], order(**ordered), [dose(d) for d in results], AS_OF)
    assert (found.granted is not None) == covers


def test_services_and_devices_are_covered_by_code():
    pump = order("DeviceRequest/pump", kind=OrderKind.DEVICE, codes=(Code(HCPCS, "E0783"),), solution=None, route=None)
    assert look_up([replace(AUTHORIZATION, codes=("E0783",))], pump, (), AS_OF).granted
    assert look_up([replace(AUTHORIZATION, codes=("E0785",))], pump, (), AS_OF).granted is None


def test_of_several_the_one_that_ends_last():
    longer = replace(AUTHORIZATION, number="PA-2", end=None)
    for both in ([AUTHORIZATION, longer], [longer, AUTHORIZATION]):
        assert look_up(both, order(), [dose()], AS_OF).granted.number == "PA-2"


def test_a_pending_request_counts_only_where_nothing_is_granted():
    pending = replace(AUTHORIZATION, number="PA-3", status="pending", start=date(2026, 3, 10))
    assert look_up([pending], order(), [dose("99")], AS_OF).pending.number == "PA-3"
    assert look_up([pending, AUTHORIZATION], order(), [dose()], AS_OF).pending is None
    assert look_up([pending], order(route=RouteGroup.EPIDURAL), [dose()], AS_OF).pending is None
    assert look_up([], order(), [dose()], AS_OF).granted is None


@pytest.mark.parametrize(
    ("stated", "limit"),
    [
        ("15 mg/d", Fraction(15)),
        ("1.5 mg/d", Fraction(3, 2)),
        ("1500 ug/d", None),
        ("15", None),
        ("x mg/d", None),
        ("1/0 mg/d", None),
        ("", None),
    ],
)
def test_daily_limits_in_milligrams_only(stated, limit):
    assert daily_limit(stated) == limit


def test_an_amount_without_limit_is_allowed():
    assert allows(AUTHORIZATION, "clonidine", None)
    assert not allows(AUTHORIZATION, "morphine", None)


@pytest.mark.parametrize(
    ("start", "end", "ending"),
    [
        (date(2026, 1, 1), date(2026, 3, 31), True),  # 29 days are left of three months
        (date(2026, 1, 1), date(2026, 4, 1), False),  # 30 days are left
        (AS_OF, date(2026, 4, 1), False),  # a trial's month that began today
        (AS_OF, date(2026, 3, 31), False),  # shorter than the notice, and just begun
        (date(2026, 2, 15), date(2026, 3, 14), True),  # the second half of such a month
    ],
)
def test_it_is_said_to_end_soon_in_the_second_half_of_its_time_alone(start, end, ending):
    held = replace(AUTHORIZATION, start=start, end=end)
    assert look_up([held], order(), [dose()], AS_OF, notice_days=30).ending is ending
