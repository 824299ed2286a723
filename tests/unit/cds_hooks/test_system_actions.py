"""The returned order: the client's own text with our coverage-information in it, nothing else changed."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.system_actions import update_order
from cds_service.fhir.coverage_information import URL, render_coverage_information
from cds_service.fhir.json import parse
from tests.support.hook_calls import MORPHINE_ORDER, SERVER, answered, draft, judged, missing


def information(determination=None, coverage="Coverage/cov-1", ident="as-2", day="2026-03-02"):
    said = answered(determination or missing()).answer
    return render_coverage_information(said, coverage=coverage, assertion_id=ident, day=day, version="2.2")


def plain(extension):
    return json.loads(msgspec.json.encode(extension))


def from_text(text):
    resource = parse(text, max_bytes=1_000_000)
    return Draft(resource, text, "", f"{resource['resourceType']}/{resource['id']}")


def updated(action):
    return parse(bytes(action["resource"]), max_bytes=1_000_000)  # the strict one: a key twice is refused


def test_crd_138_053_054_type_description_and_whole_resource():
    action = update_order(draft(), information())
    assert action["type"] == "update"
    assert action["description"]
    assert "resourceId" not in action
    assert updated(action)["id"] == "draft-1"


def test_crd_139_everything_but_the_extension_is_byte_identical():
    text = json.dumps(MORPHINE_ORDER, indent=1).replace("0.75", "0.750000000000000000001").encode()
    raw = bytes(update_order(from_text(text), information())["resource"])
    assert raw.startswith(text.rstrip().removesuffix(b"}").rstrip())
    assert b"0.750000000000000000001" in raw
    order = json.loads(raw)
    assert list(order) == [*MORPHINE_ORDER, "extension"]


@pytest.mark.parametrize("token", ["1.20", "15.00000000000000001", "1E2", "-0", "0.10e-1", "100000000000000000000"])
def test_crd_139_number_tokens_keep_their_digits(token):
    for extension in (b"", b',"extension":[{"url":"http://example.org/x","valueDecimal":%s}]' % token.encode()):
        text = b'{"resourceType":"MedicationRequest","id":"a","x":%s%s,"last":1}' % (token.encode(), extension)
        raw = bytes(update_order(from_text(text), information())["resource"])
        assert raw.count(token.encode()) >= (2 if extension else 1)


def test_crd_137_139_deep_difference_is_exactly_the_extension():
    order = MORPHINE_ORDER | {"extension": [{"url": "http://example.org/own", "valueBoolean": True}], "note": []}
    after = updated(update_order(draft(order), information()))
    ours = [each for each in after["extension"] if each["url"] == URL]
    assert ours == [plain(information())]
    after["extension"].remove(ours[0])
    assert after == json.loads(json.dumps(order), parse_float=Decimal)
    assert list(after) == list(order)


def test_crd_141_other_payers_assertions_keep_place_and_text():
    other = plain(information(coverage="Coverage/other-payer"))
    after = updated(update_order(draft(MORPHINE_ORDER | {"extension": [other]}), information()))
    assert [each["extension"][0]["valueReference"]["reference"] for each in after["extension"]] == [
        "Coverage/other-payer",
        "Coverage/cov-1",
    ]


def test_crd_140_the_same_content_gives_no_action_whatever_its_date():
    earlier = plain(information(ident="as-1", day="2026-02-01"))
    assert update_order(draft(MORPHINE_ORDER | {"extension": [earlier]}), information()) is None


def test_crd_140_a_changed_answer_replaces_ours():
    earlier = plain(information(judged()))
    later = update_order(draft(MORPHINE_ORDER | {"extension": [earlier]}), information(missing()))
    after = updated(later)
    assert after["extension"] == [plain(information(missing()))]


def test_crd_145_several_old_assertions_of_ours_become_one():
    old = [plain(information(ident="a")), plain(information(ident="b"))]
    after = updated(update_order(draft(MORPHINE_ORDER | {"extension": old}), information()))
    assert after["extension"] == [plain(information())]


@pytest.mark.parametrize(
    ("reference", "same"),
    [
        ("Coverage/cov-1", True),
        (f"{SERVER}/Coverage/cov-1", True),
        (f"{SERVER}/Coverage/cov-1/_history/3", True),
        ("https://other.example.org/fhir/Coverage/cov-1", False),
        ("Coverage/cov-2", False),
        ("", False),
    ],
)
def test_crd_140_ours_is_known_by_its_coverage(reference, same):
    there = plain(information(coverage=reference))
    action = update_order(draft(MORPHINE_ORDER | {"extension": [there]}), information(), SERVER)
    assert (action is None) == same


@pytest.mark.parametrize("extension", [None, [], {}, [None, 7], [{"url": URL}], [{"url": URL, "extension": [None]}]])
def test_odd_extension_lists_do_not_stop_the_answer(extension):
    text = json.dumps(MORPHINE_ORDER | {"extension": extension}).encode()
    after = updated(update_order(from_text(text), information()))
    assert plain(information()) in after["extension"]


_names = st.text(min_size=1, max_size=6).filter(lambda name: name not in {"extension", "resourceType", "id"})
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    members=st.dictionaries(_names, _values, max_size=5),
    extensions=st.none() | st.lists(st.dictionaries(st.text(max_size=4), _values, max_size=2), max_size=3),
    indent=st.sampled_from([None, 0, 2]),
)
def test_crd_139_minimal_change_whatever_the_order_holds(members, extensions, indent):
    order = {"resourceType": "MedicationRequest", "id": "a"} | members
    if extensions is not None:
        order["extension"] = extensions
    text = json.dumps(order, indent=indent).encode()
    source = Draft(order, text, "", "MedicationRequest/a")
    after = json.loads(bytes(update_order(source, information())["resource"]))
    assert after["extension"].pop() == plain(information())
    assert after == order | {"extension": extensions or []}
