"""What every ``ports.Store`` promises: the memory twin, SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from cds_service.ports import FeedbackCount, FeedbackEntry, Invocation, PrefetchSeen, Recalled, Store
from tests.support.stores import COVERAGE, DOSE, NOON, a_call, an_authorization, overridden

DAY = timedelta(days=1)


def recalled(store: Store, call: Invocation, **changes: str | None) -> Sequence[Recalled]:
    asked = {
        "client": call.client,
        "jti": call.jti,
        "hook_instance": call.hook_instance,
        "request_digest": call.request_digest,
    }
    return store.recall(**{**asked, **changes})  # type: ignore[arg-type]


# ---- repeats (decisions 4) ----


def test_nothing_is_recalled_of_a_call_never_made(store: Store) -> None:
    assert not recalled(store, a_call())


def test_crd_158_an_answer_comes_back_byte_for_byte(store: Store) -> None:
    response = bytes(range(256)) * 40  # the store must not care what is in it
    call = a_call(response=response, status=200, outcome="partial")
    assert store.record(call) is None
    by_jti, by_instance = recalled(store, call)
    assert (by_jti.by, by_instance.by) == ("jti", "hookInstance")
    for found in (by_jti, by_instance):
        assert found.response == response
        assert (found.status, found.outcome) == (200, "partial")
        assert (found.request_digest, found.service) == (call.request_digest, call.service)


@pytest.mark.parametrize(
    ("changes", "found_by"),
    [
        ({}, {"jti", "hookInstance"}),
        ({"request_digest": "0" * 64}, {"jti"}),  # same token, other body: the caller refuses it
        ({"jti": "another"}, {"hookInstance"}),  # a retry with a fresh token
        ({"jti": None}, {"hookInstance"}),  # without token (--insecure-dev)
        ({"jti": "another", "request_digest": "0" * 64}, set()),  # the draft changed: evaluated anew
        ({"jti": "another", "hook_instance": "another"}, set()),
        ({"client": "cerner-test"}, set()),  # a jti and a hookInstance mean something within one client only
    ],
)
def test_bad_input_34_35_which_repeats_are_found(
    store: Store, changes: dict[str, str | None], found_by: set[str]
) -> None:
    call = a_call()
    store.record(call)
    assert {found.by for found in recalled(store, call, **changes)} == found_by


def test_bad_input_35_a_second_answer_under_one_jti_changes_nothing(store: Store) -> None:
    first = a_call()
    second = a_call(jti=first.jti)
    store.record(first)
    earlier = store.record(second)
    assert earlier is not None
    assert (earlier.by, earlier.response, earlier.request_digest) == ("jti", first.response, first.request_digest)
    assert store.determination(second.determinations[0][0]) is None
    assert store.save_feedback(second.client, second.service, [overridden(second.cards[0][0])], NOON) == 0
    assert not recalled(store, second, jti=None)


def test_the_same_invocation_recorded_twice_is_not_a_conflict(store: Store) -> None:
    # What a retry after a lost connection does: the first attempt may have been committed.
    call = a_call()
    assert store.record(call) is None
    assert store.record(call) is None
    assert len(recalled(store, call)) == 2


def test_calls_without_jti_never_conflict(store: Store) -> None:
    first = a_call(jti=None, jti_expires=None)
    second = a_call(jti=None, jti_expires=None)
    assert store.record(first) is None
    assert store.record(second) is None
    assert [found.by for found in recalled(store, first)] == ["hookInstance"]


def test_two_clients_may_use_the_same_jti(store: Store) -> None:
    call = a_call()
    other = a_call(client="cerner-test", jti=call.jti)
    assert store.record(call) is None
    assert store.record(other) is None
    assert recalled(store, other)[0].response == other.response


def test_the_newest_answer_to_a_hook_instance_comes_first(store: Store) -> None:
    first = a_call(outcome="technical", response=b"first")
    store.record(first)
    store.record(msgspec.structs.replace(first, id="later", jti="later", outcome="full", response=b"second"))
    assert [found.response for found in recalled(store, first, jti=None)] == [b"second", b"first"]


def test_bad_input_34_of_twenty_threads_with_one_jti_one_is_kept(store: Store) -> None:
    calls = [a_call(jti="the-same") for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(store.record, calls))
    kept = [call for call, outcome in zip(calls, outcomes, strict=True) if outcome is None]
    assert len(kept) == 1
    assert {outcome.response for outcome in outcomes if outcome is not None} == {kept[0].response}
    assert [call for call in calls if store.determination(call.determinations[0][0]) is not None] == kept


# ---- what a client prefetches (check-client) ----


def test_prefetched_keys_are_counted_per_client_and_lately(store: Store) -> None:
    store.record(a_call(prefetched=("patient", "coverage", "cov-2")))
    store.record(a_call(prefetched=("patient",), received=NOON + DAY))
    store.record(a_call(received=NOON + DAY))  # a call that sent none
    store.record(a_call(prefetched=("devices",), client="cerner-test"))
    store.record(a_call(prefetched=("devices",), received=NOON - DAY))
    assert store.prefetch_seen("epic-test", NOON) == PrefetchSeen(3, {"patient": 2, "coverage": 1, "cov-2": 1})
    assert store.prefetch_seen("epic-test", NOON + 2 * DAY) == PrefetchSeen(0, {})
    assert store.prefetch_seen("nobody", NOON) == PrefetchSeen(0, {})


def test_only_the_latest_thousand_calls_tell_how_a_client_prefetches(store: Store) -> None:
    store.record(a_call(prefetched=("devices",), received=NOON))
    for number in range(1000):
        store.record(a_call(prefetched=("patient",), received=NOON + timedelta(seconds=number + 1)))
    assert store.prefetch_seen("epic-test", NOON) == PrefetchSeen(1000, {"patient": 1000})


# ---- determinations and cards ----


@pytest.mark.parametrize("documents", [(), (b"one",), (b"", b"two", "drei: \u00b5g".encode()), (b"\x00\xff" * 40_000,)])
def test_crd_192_determinations_come_back_byte_for_byte(store: Store, documents: tuple[bytes, ...]) -> None:
    idents = [f"assertion {index} 'quoted' \"twice\" \u00b5" for index in range(len(documents))]
    store.record(a_call(determinations=tuple(zip(idents, documents, strict=True)), cards=()))
    assert [store.determination(ident) for ident in idents] == list(documents)
    assert store.determination("unknown") is None


def test_one_determination_made_twice_reads_as_its_newest(store: Store) -> None:
    for text in (b"older", b"newer"):
        store.record(a_call(determinations=(("the-same", text),)))
    assert store.determination("the-same") == b"newer"


def test_a_card_uuid_may_recur_over_calls_and_within_one(store: Store) -> None:
    card = ("card-1", DOSE, "ack-1")
    for _ in range(2):
        assert store.record(a_call(cards=(card, card))) is None
    assert store.save_feedback("epic-test", "order-sign-crd", [overridden("card-1")], NOON) == 1


@pytest.mark.parametrize("text", ["'; DROP TABLE invocation; --", '"', "\\", "%s", ":client", "a\tb\n", "\U0001f489"])
def test_bad_input_118_sql_in_every_text_is_only_text(store: Store, text: str) -> None:
    call = a_call(
        client=text,
        service=text,
        hook=text,
        hook_instance=text,
        jti=text,
        request_digest=text,
        patient_key=text,
        determinations=((text, b"{}"),),
        cards=((text, text, text),),
    )
    assert store.record(call) is None
    assert recalled(store, call)[0].service == text
    assert store.determination(text) == b"{}"
    entry = overridden(text, reason_code=text, reason_system=text, comment=text)
    assert store.save_feedback(text, text, [entry], NOON) == 1
    assert store.acknowledged([text], NOON) == {text}
    store.note_access(text, text, text, NOON)
    store.put_authorizations([(an_authorization(number=text, member_id=text, source=text), text)], NOON)
    assert store.authorizations(text)[0].number == text


# ---- feedback (cds-hooks-crd 65-71) ----


def shown(store: Store, rule: str = DOSE, ack_key: str = "ack-1") -> str:
    call = a_call()
    card = call.cards[0][0]
    store.record(msgspec.structs.replace(call, cards=((card, rule, ack_key),)))
    return card


def test_bad_input_64_feedback_on_an_unknown_card_is_kept_but_not_counted_as_known(store: Store) -> None:
    known = shown(store)
    entries = [overridden(known), overridden("never-shown")]
    assert store.save_feedback("epic-test", "order-sign-crd", entries, NOON) == 1
    assert {count.rule for count in store.feedback_report(NOON)} == {DOSE, ""}


def test_another_clients_card_is_unknown(store: Store) -> None:
    card = shown(store)
    assert store.save_feedback("cerner-test", "order-sign-crd", [overridden(card)], NOON) == 0
    assert store.acknowledged(["ack-1"], NOON - DAY) == frozenset()


def test_bad_input_64_ten_thousand_entries_are_one_transaction(store: Store) -> None:
    card = shown(store)
    entries = [overridden(f"no-{index}") for index in range(9_999)] + [overridden(card)]
    assert store.save_feedback("epic-test", "order-sign-crd", entries, NOON) == 1
    assert sum(count.count for count in store.feedback_report(NOON)) == 10_000


def test_no_entries_are_no_feedback(store: Store) -> None:
    assert store.save_feedback("epic-test", "order-sign-crd", [], NOON) == 0


def test_feedback_is_counted_per_rule_outcome_and_reason(store: Store) -> None:
    dose, coverage = shown(store), shown(store, COVERAGE, "ack-2")
    entries = [
        overridden(dose),
        overridden(dose, when=NOON + DAY),
        overridden(dose, reason_code="data-error", when=NOON + 2 * DAY),
        FeedbackEntry(card=coverage, outcome="accepted", when=NOON, suggestions=("s-1", "s-2")),
    ]
    assert store.save_feedback("epic-test", "order-sign-crd", entries, NOON) == 4
    assert list(store.feedback_report(NOON)) == [
        FeedbackCount(COVERAGE, "accepted", "", "", 1),
        FeedbackCount(DOSE, "overridden", "urn:example:reasons", "data-error", 1),
        FeedbackCount(DOSE, "overridden", "urn:example:reasons", "dose-verified", 2),
    ]
    assert not store.feedback_report(NOON + timedelta(microseconds=1))


def test_the_same_feedback_sent_again_counts_once(store: Store) -> None:
    card = shown(store)
    for _ in range(2):
        assert store.save_feedback("epic-test", "order-sign-crd", [overridden(card)], NOON) == 1
    assert [count.count for count in store.feedback_report(NOON)] == [1]


# ---- the quiet rule (decisions 5) ----


@pytest.mark.parametrize(
    ("changes", "received", "quiet"),
    [
        ({}, NOON, True),
        ({"outcome": "accepted"}, NOON, False),  # nobody said why
        ({"reason_code": ""}, NOON, False),  # set aside without a reason
        ({"when": NOON - 181 * DAY}, NOON, False),  # too long ago, though reported today
        ({"when": NOON + 3650 * DAY}, NOON, True),  # the client's clock is wrong: ours counts
        ({"when": NOON + 3650 * DAY}, NOON - 181 * DAY, False),
        ({"when": NOON - 180 * DAY}, NOON - 180 * DAY, True),  # the last day counts
    ],
)
def test_decisions_5_only_a_recent_override_with_a_reason_silences(
    store: Store, changes: dict[str, object], received: datetime, quiet: bool
) -> None:
    card = shown(store)
    store.save_feedback("epic-test", "order-sign-crd", [overridden(card, **changes)], received)
    found = store.acknowledged(["ack-1", "ack-2"], NOON - 180 * DAY)
    assert found == (frozenset({"ack-1"}) if quiet else frozenset())


def test_decisions_5_what_was_said_to_the_same_card_does_not_silence_it(store: Store) -> None:
    """A repeat of the same draft has the same card, and repeats are never silenced."""
    card = shown(store)
    store.save_feedback("epic-test", "order-sign-crd", [overridden(card)], NOON)
    assert store.acknowledged(["ack-1"], NOON, [card]) == frozenset()
    assert store.acknowledged(["ack-1"], NOON, ["card-of-another-draft"]) == {"ack-1"}


def test_no_keys_and_an_empty_key_are_never_acknowledged(store: Store) -> None:
    store.save_feedback("epic-test", "order-sign-crd", [overridden("unknown")], NOON)
    assert store.acknowledged([], NOON) == frozenset()
    assert store.acknowledged([""], NOON) == frozenset()


# ---- authorizations on file ----


def test_authorizations_are_found_by_member_alone(store: Store) -> None:
    mine = an_authorization(end=NOON.date(), billing=("J2274",), quantity="30 d", due="2026-03-02T12:00:00Z")
    second = an_authorization(number="PA-2", status="pending", drugs=(), route="", max_daily={})
    other = an_authorization(number="PA-3", member_id="M-2")
    outcomes = store.put_authorizations([(second, "raw 2"), (mine, "raw 1"), (other, "raw 3")], NOON)
    assert list(outcomes) == ["added", "added", "added"]
    assert list(store.authorizations("M-1")) == [mine, second]
    assert not store.authorizations("M-")
    assert not store.authorizations("")


def test_an_authorization_is_one_per_source_and_number(store: Store) -> None:
    first = an_authorization()
    revoked = an_authorization(status="revoked")
    elsewhere = an_authorization(source="feed")
    assert list(store.put_authorizations([(first, "a")], NOON)) == ["added"]
    assert list(store.put_authorizations([(first, "b"), (revoked, "c")], NOON)) == ["unchanged", "changed"]
    assert list(store.put_authorizations([(elsewhere, "d")], NOON)) == ["added"]
    assert list(store.authorizations("M-1")) == [elsewhere, revoked]


def test_an_authorization_may_move_to_another_member(store: Store) -> None:
    store.put_authorizations([(an_authorization(), "a")], NOON)
    store.put_authorizations([(an_authorization(member_id="M-9"), "b")], NOON)
    assert not store.authorizations("M-1")
    assert [found.number for found in store.authorizations("M-9")] == ["PA-1"]


# ---- retention ----


def test_comments_go_first_and_alone(store: Store) -> None:
    card = shown(store)
    store.save_feedback("epic-test", "order-sign-crd", [overridden(card, comment="about a patient")], NOON)
    assert store.erase("comment", NOON, 10) == 0
    assert store.erase("comment", NOON + DAY, 10) == 1
    assert store.erase("comment", NOON + DAY, 10) == 0
    assert [count.count for count in store.feedback_report(NOON)] == [1]


def test_old_calls_go_with_all_that_hangs_on_them(store: Store) -> None:
    old = [a_call(received=NOON - (3 - index) * DAY) for index in range(3)]
    young = a_call(received=NOON)
    for call in (young, *old):
        store.record(call)
    assert store.erase("invocation", NOON, 2) == 2  # the oldest two
    assert [bool(recalled(store, call)) for call in old] == [False, False, True]
    assert store.erase("invocation", NOON, 2) == 1
    assert store.erase("invocation", NOON, 2) == 0
    assert [store.determination(call.determinations[0][0]) for call in old] == [None] * 3
    assert store.save_feedback("epic-test", "s", [overridden(call.cards[0][0]) for call in old], NOON) == 0
    assert len(recalled(store, young)) == 2
    assert store.record(old[0]) is None  # and their jti with them


def test_counting_and_the_quiet_rule_outlive_the_calls(store: Store) -> None:
    card = shown(store)
    store.save_feedback("epic-test", "order-sign-crd", [overridden(card)], NOON)
    assert store.erase("invocation", NOON + DAY, 10) == 1
    assert store.acknowledged(["ack-1"], NOON) == {"ack-1"}
    assert [count.rule for count in store.feedback_report(NOON)] == [DOSE]
    assert store.erase("feedback", NOON, 10) == 0
    assert store.erase("feedback", NOON + DAY, 10) == 1
    assert store.acknowledged(["ack-1"], NOON) == frozenset()


def test_crd_192_accesses_are_kept_for_their_time(store: Store) -> None:
    for days in range(3):
        store.note_access("reviewer", "read", f"assertion-{days}", NOON + days * DAY)
    assert store.erase("access", NOON + 2 * DAY, 10) == 2
    assert store.erase("access", NOON + 3 * DAY, 10) == 1


def test_bad_input_80_instants_keep_their_order_whatever_their_zone(store: Store) -> None:
    eastern = timezone(timedelta(hours=-5))
    before = datetime(2026, 3, 1, 6, 59, tzinfo=eastern)  # 11:59 UTC
    store.record(a_call(received=before))
    store.record(a_call(received=datetime(9999, 12, 31, 23, 59, tzinfo=UTC)))
    store.record(a_call(received=datetime(1, 1, 1, tzinfo=UTC)))
    assert store.erase("invocation", NOON, 10) == 2


def test_a_ready_store_answers_ping(store: Store) -> None:
    store.ping()
