"""What every ``ports.FormStore`` promises: the memory twin, SQLite and PostgreSQL alike."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from cds_service.ports import FormCall, FormError
from tests.support.stores import NOON

DAY = timedelta(days=1)
CALL = FormCall(at=NOON, client="app", operation="qpackage", version="2.2", status=200, milliseconds=3, context="c-1")
ERROR = FormError("https://example.org/q|1", "error", "processing", "", "x" * 2000)


def test_SM51_an_assertion_counts_once_per_client(store: Any) -> None:
    assert store.use_assertion("app", "j-1", 1_000, 900)
    assert not store.use_assertion("app", "j-1", 1_000, 900)
    assert not store.use_assertion("app", "j-1", 2_000, 901)
    assert store.use_assertion("other", "j-1", 1_000, 900)
    assert store.use_assertion("app", "j-2", 1_000, 900)


def test_SM51_an_assertion_is_forgotten_when_its_age_refuses_it(store: Any) -> None:
    assert store.use_assertion("app", "j-1", 1_000, 900)
    assert not store.use_assertion("app", "j-1", 1_000, 1_000)
    assert store.use_assertion("app", "j-1", 2_000, 1_001)


def test_SM51_of_many_at_once_one_gets_through(store: Any) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: store.use_assertion("app", "j-1", 1_000, 900), range(16)))
    assert found.count(True) == 1


def test_PS35_a_later_result_takes_the_place_of_the_earlier(store: Any) -> None:
    assert store.form_result("c-1") is None
    store.keep_form_result("c-1", "app", b"first", NOON)
    store.keep_form_result("c-2", "app", b"other", NOON)
    store.keep_form_result("c-1", "app", b"second \x00", NOON + DAY)
    assert store.form_result("c-1") == b"second \x00"
    assert store.form_result("c-2") == b"other"


@pytest.mark.parametrize("what", ["form_call", "form_error", "form_result"])
def test_PS39_what_was_kept_of_forms_goes_with_its_age_the_oldest_first(store: Any, what: str) -> None:
    for days in (3, 2, 1):
        at = NOON - days * DAY
        store.note_form_call(FormCall(**{name: getattr(CALL, name) for name in CALL.__struct_fields__} | {"at": at}))
        store.note_form_errors("app", [ERROR], at)
        store.keep_form_result(f"c-{days}", "app", b"{}", at)
    store.note_form_errors("app", [], NOON)
    assert store.erase(what, NOON - 1.5 * DAY, 1) == 1
    assert store.erase(what, NOON - 1.5 * DAY, 10) == 1
    assert store.erase(what, NOON - 1.5 * DAY, 10) == 0
    assert (store.form_result("c-3") is None) is (what == "form_result")
    assert store.form_result("c-1") == b"{}"
