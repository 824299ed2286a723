"""The strict parser: what two readers could read differently is refused (reliability 1.3, rows 43-49)."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import MalformedRequest, TooLarge
from cds_service.fhir.json import draft_texts, members, parse

LIMIT = 1_000_000

REFUSED = [
    # (id, body, why)
    ("bad_input_45_depth_65", b"[" * 65 + b"]" * 65, "deeper"),
    ("bad_input_45_depth_1500", b"[" * 1500 + b"]" * 1500, "deeper"),
    ("bad_input_45_depth_unclosed", b'{"a":' * 400_00, "deeper"),
    ("bad_input_46_same_key", b'{"patientId":"1","patientId":"2"}', "same key"),
    ("bad_input_46_same_key_deep_inside", b'{"a":[{"b":{"value":15,"value":1.5}}]}', "same key"),
    ("bad_input_46_same_key_escaped", b'{"\\u0061":1,"a":2}', "same key"),
    ("bad_input_46_same_key_with_spaces", b'{"a" : 1, "a"\n: 2}', "same key"),
    ("bad_input_46_dropped_colon_made_up_by_escape", b'{"a":1,"a":"\\u003a"}', "same key"),
    ("bad_input_46_dropped_colon_made_up_by_quote_escape", b'{"a" :1,"a":"\\u0022\\u003a"}', "same key"),
    ("bad_input_47_nan", b'{"value":NaN}', "not JSON"),
    ("bad_input_47_infinity", b'{"value":-Infinity}', "not JSON"),
    ("bad_input_47_overflow", b'{"value":1e999}', "range"),
    ("bad_input_47_underflow", b'{"value":1e-999}', "range"),
    ("bad_input_47_exponent_of_zero", b'{"value":0e999}', "range"),
    ("bad_input_47_integer_of_5000_digits", b'{"value":' + b"9" * 5000 + b"}", "range"),
    ("bad_input_47_integer_of_400_digits", b'{"value":' + b"9" * 400 + b"}", "range"),
    ("bad_input_47_decimal_of_5000_digits", b'{"value":0.' + b"3" * 5000 + b"}", "range"),
    ("bad_input_48_lone_high_surrogate", b'{"a":"\\ud800"}', "not JSON"),
    ("bad_input_48_lone_low_surrogate", b'{"a":"\\udc00x"}', "not JSON"),
    ("bad_input_48_nul_escaped", b'{"a":"x\\u0000"}', "NUL"),
    ("bad_input_48_nul_after_escaped_backslash", b'{"a":"\\\\\\u0000"}', "NUL"),
    ("bad_input_48_nul_raw", b'{"a":"x\x00"}', "not JSON"),
    ("bad_input_48_bom", b'\xef\xbb\xbf{"a":1}', "not JSON"),
    ("bad_input_48_utf16", '{"a":1}'.encode("utf-16"), "not JSON"),
    ("bad_input_48_latin1", b'{"a":"caf\xe9"}', "UTF-8"),
    ("bad_input_48_cesu_surrogate", b'{"a":"\xed\xa0\x80"}', "UTF-8"),
    ("bad_input_48_overlong", b'{"a":"\xc0\x80"}', "UTF-8"),
    ("bad_input_49_empty", b"", "not JSON"),
    ("bad_input_49_cut_off", b'{"hook":"order-sign","context":{"patientId":"1"', "not JSON"),
    ("bad_input_49_unclosed", b"{bad", "not JSON"),
    ("bad_input_49_closed_too_often", b'{"a":1}}', "not JSON"),
    ("bad_input_49_trailing", b'{"a":1} {"b":2}', "not JSON"),
    ("bad_input_79_comma_decimal", b'{"value":0,75}', "not JSON"),
    ("leading_zero", b'{"value":015}', "not JSON"),
]


@pytest.mark.parametrize(("body", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(body: bytes, why: str) -> None:
    with pytest.raises(MalformedRequest, match=why):
        parse(body, max_bytes=LIMIT)


def test_bad_input_43_larger_than_allowed() -> None:
    assert parse(b'{"a":1}', max_bytes=7) == {"a": 1}
    with pytest.raises(TooLarge):
        parse(b'{"a":1}', max_bytes=6)


READ = [
    ("bad_input_45_depth_64", b"[" * 64 + b"]" * 64),
    ("bad_input_45_brackets_in_text_are_no_depth", b'{"text":"' + b"[{" * 500 + b'\\"["}'),
    ("bad_input_50_prototype_words", b'{"__proto__":{"a":1},"constructor":2}'),
    ("same_key_in_two_objects", b'[{"a":1},{"a":2}]'),
    ("colons_in_text", b'{"url":"http://a:80/b","t":"\\":\\""}'),
    ("escaped_colon", b'{"a\\u003a":"\\u003a"}'),
    ("escaped_backslash_before_u0000_is_text", b'{"a":"\\\\u0000"}'),
    ("pair_of_surrogates", b'{"a":"\\ud83d\\ude00"}'),
    ("no_ascii", '{"a":"µg é"}'.encode()),
    ("long_digits_in_text", b'{"udi":"' + b"1" * 900 + b'"}'),
    ("spaces", b' {\n"a" : [ 1 , 2 ] }\t'),
    ("large_integer", b'{"a":123456789012345678901234567890}'),
]


@pytest.mark.parametrize("body", [row[1] for row in READ], ids=[row[0] for row in READ])
def test_read_as_the_standard_parser_does(body: bytes) -> None:
    assert parse(body, max_bytes=LIMIT) == json.loads(body)


NUMBERS = [
    # digits that a binary float would lose, at the limit of 15 mg/d
    (b"15.00000000000000001", Decimal("15.00000000000000001")),
    (b"1.20", Decimal("1.20")),
    (b"1e308", Decimal("1e308")),
    (b"0.0000001", Decimal("0.0000001")),
    (b"-0.5", Decimal("-0.5")),
    (b"15", 15),
]


@pytest.mark.parametrize(("token", "value"), NUMBERS)
def test_bad_input_79_numbers_are_exact(token: bytes, value: Decimal | int) -> None:
    read = parse(b'{"value":' + token + b"}", max_bytes=LIMIT)["value"]
    assert read == value
    assert type(read) is type(value)


def test_crd_139_members_keep_every_digit() -> None:
    assert bytes(members(b'{"value": 1.20 ,"id":"x"}')["value"]) == b"1.20"
    with pytest.raises(MalformedRequest):
        members(b"[1]")


def test_crd_139_draft_texts_are_as_sent() -> None:
    body = b'{"context":{"draftOrders":{"entry":[{"resource":{"id" :"a","v":2.50}},{"fullUrl":"x","resource":{}}]}}}'
    assert draft_texts(body) == (b'{"id" :"a","v":2.50}', b"{}")
    assert draft_texts(b'{"context":{}}') == ()
    with pytest.raises(MalformedRequest):
        draft_texts(b'{"context":{"draftOrders":7}}')


def test_errors_never_repeat_input() -> None:
    for _, body, _ in REFUSED:
        with pytest.raises(MalformedRequest) as caught:
            parse(body, max_bytes=LIMIT)
        assert "patientId" not in caught.value.diagnostics


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(value=VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_whatever_is_unique_and_free_of_nul_is_read(value: object, *, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    if "\0" in repr(value) or "\\x00" in repr(value):
        return
    assert parse(body, max_bytes=LIMIT) == value


@given(
    keys=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4),
    ascii_only=st.booleans(),
    space=st.sampled_from(["", " ", "\n"]),
)
def test_bad_input_46_any_repeated_key_is_found(keys: list[str], *, ascii_only: bool, space: str) -> None:
    again = [*keys, keys[0]]
    pairs = [json.dumps(key, ensure_ascii=ascii_only) + f"{space}:{json.dumps(key)}" for key in again]
    with pytest.raises(MalformedRequest, match="same key"):
        parse(("{" + ",".join(pairs) + "}").encode(), max_bytes=LIMIT)
