"""Which answer is the newer, whose it is, and what a notification holds: pure."""

from __future__ import annotations

from typing import Any

import pytest

from smart_app.pas.matching import bundles_in, claims_named, is_older, of_another_person, remarks_in
from smart_app.pas.notification import read_notice
from tests.support.foreign_pas import notification, told


def made(created: str = "", timestamp: str = "", **members: Any) -> dict[str, Any]:
    response = {"resourceType": "ClaimResponse", "created": created, **members}
    return {"resourceType": "Bundle", "timestamp": timestamp, "entry": [{"resource": response}]}


ORDER = [
    (made("2026-03-01"), made("2026-03-02"), True),
    (made("2026-03-02"), made("2026-03-01"), False),
    (made("2026-03-02T10:00:00-05:00"), made("2026-03-02T14:59:00Z"), False),  # an hour later: 15:00 there
    (made("2026-03-02"), made("2026-03-02T23:30:00-05:00"), False),  # the same day: nobody can tell
    (made("2026-03-02", "2026-03-02T10:00:00Z"), made("2026-03-02", "2026-03-02T11:00:00Z"), True),
    (made("soon", "2026-03-02T10:00:00Z"), made("", "2026-03-02T11:00:00Z"), True),
    (made(), made("2026-03-02"), False),
    (made("2026-03-02T10:00:00"), made("2026-03-02T11:00:00Z"), True),  # without a zone, as some write it
]


@pytest.mark.parametrize(("one", "other", "older"), ORDER)
def test_P065_only_what_is_certainly_older_is_called_older(one: Any, other: Any, older: bool) -> None:
    assert is_older(one, other) is older


def of(born: str, heart: str, reference: str = "Patient/1", url: str = "urn:uuid:p") -> dict[str, Any]:
    patient = {"resourceType": "Patient", "id": "1", "birthDate": born}
    head = {"resource": {"resourceType": heart, "patient": {"reference": reference}}}
    return {"entry": [head, {"fullUrl": url, "resource": patient}]}


@pytest.mark.parametrize(
    ("ours", "theirs", "another"),
    [
        ("1961-07-03", of("1961-07-04", "ClaimResponse"), True),
        ("1961-07-03", of("1961-07-04", "ClaimResponse", "urn:uuid:p"), True),
        ("1961-07-03", of("1961-07-04", "ClaimResponse", "https://payer.example.net/Patient/1"), True),
        ("1961-07-03", of("1961-07", "ClaimResponse"), False),
        ("1961-07-03", of("1961-07-04", "ClaimResponse", "Patient/2"), False),  # a subscriber, say
        ("", of("1961-07-04", "ClaimResponse"), False),
        ("1961-07-03", {"entry": [{"resource": {"resourceType": "ClaimResponse", "patient": "x"}}]}, False),
    ],
)
def test_only_another_day_of_birth_makes_another_person(ours: str, theirs: Any, another: bool) -> None:
    assert of_another_person(theirs, of(ours, "Claim")) is another


def test_P064_the_newer_form_of_a_notification_is_read_too() -> None:
    """SubscriptionStatus of R4B and R5, the focus a ClaimResponse without a Bundle."""
    response = {"resourceType": "ClaimResponse", "id": "7", "request": {"reference": "urn:uuid:c"}}
    status = {
        "resourceType": "SubscriptionStatus",
        "status": "active",
        "type": "event-notification",
        "eventsSinceSubscriptionStart": "4",
        "notificationEvent": [{"eventNumber": 4, "focus": {"reference": "ClaimResponse/7"}}],
    }
    notice = read_notice({"resourceType": "Bundle", "entry": [{"resource": status}, {"resource": response}]})
    assert (notice.kind, notice.status, notice.numbers, notice.newest) == ("event-notification", "active", (4,), 4)
    ((number, bundle),) = notice.answers
    assert (number, claims_named(bundle)) == (4, ["urn:uuid:c"])
    assert not notice.wordless


def test_P064_several_events_are_given_in_their_order_each_with_its_own_answer() -> None:
    notice = read_notice(notification((2, made("2026-03-02")), (1, made("2026-03-01"))))
    assert [(number, each["entry"][0]["resource"]["created"]) for number, each in notice.answers] == [
        (1, "2026-03-01"),
        (2, "2026-03-02"),
    ]
    assert read_notice(notification((1, made()), (2, None))).wordless


@pytest.mark.parametrize(
    "bundle",
    [
        {"entry": 3},
        {"entry": [{"resource": {"resourceType": "Parameters", "parameter": [{"name": "notification-event"}, 7]}}]},
        {"entry": [{"resource": {"resourceType": "SubscriptionStatus", "type": 4, "notificationEvent": [{}]}}]},
        {"entry": [{"resource": {"resourceType": "Bundle", "entry": [{"resource": "x"}, None]}}]},
    ],
)
def test_P064_nothing_is_read_out_of_nonsense(bundle: dict[str, Any]) -> None:
    notice = read_notice({"resourceType": "Bundle", **bundle})
    assert (notice.numbers, notice.answers, notice.wordless) == ((), (), False)


def test_P003_several_responses_of_one_bundle_are_told_apart_each_with_its_own_requests() -> None:
    asked = {"resourceType": "CommunicationRequest", "id": "q"}
    one = {"resourceType": "ClaimResponse", "id": "1", "communicationRequest": [{"reference": "urn:x/q"}]}
    two = {"resourceType": "ClaimResponse", "id": "2"}
    entries = [{"resource": each} for each in (one, asked, two, told("Call us"))]
    body = {"resourceType": "Bundle", "entry": entries}
    found = [[entry["resource"].get("id") for entry in each["entry"]] for each in bundles_in(body)]
    assert found == [["1", "q", None], ["2", None]]
    assert remarks_in(body) == ("Call us",)
