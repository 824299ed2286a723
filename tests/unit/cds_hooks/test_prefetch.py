"""What is published as prefetch, and what is asked of the EHR where it was not sent."""

import re

import pytest

from cds_service.cds_hooks.prefetch import WANTED, by_own_key, outstanding, readable_types, sent_keys, templates
from cds_service.cds_hooks.request import parse_request
from cds_service.cds_hooks.services import ORDER_SIGN
from cds_service.domain.record import Code
from tests.support.hook_calls import ABSENT, call, encode, with_context

LENT = {"access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.rs", "subject": "s"}
LOINC = "http://loinc.org"


def request(**changes):
    return parse_request(encode(call(**({"fhirAuthorization": LENT} | changes))), service=ORDER_SIGN)


def test_crd_035_177_only_root_level_tokens():
    tokens = {token for template in templates().values() for token in re.findall(r"\{\{(.*?)\}\}", template)}
    assert tokens == {"context.patientId", "context.encounterId"}


def test_crd_036_only_reads_and_plain_searches():
    for template in templates([Code(LOINC, "72514-3")]).values():
        assert re.fullmatch(
            r"[A-Z]\w+/\{\{context\.\w+\}\}|[A-Z]\w+\?patient=\{\{context\.patientId\}\}(&code=\S+)?", template
        )


def test_one_template_per_resource_type():
    kinds = [template.partition("/")[0].partition("?")[0] for template in templates().values()]
    assert len(set(kinds)) == len(kinds)
    assert dict(zip(templates(), kinds, strict=True)) == WANTED


def test_observations_are_narrowed_to_the_guidelines_codes_in_a_fixed_order():
    codes = [Code(LOINC, "72514-3"), Code(LOINC, "38208-5"), Code(LOINC, "72514-3")]
    narrowed = templates(codes)["observations"]
    assert narrowed.endswith(f"&code={LOINC}|38208-5,{LOINC}|72514-3")
    assert templates(reversed(codes))["observations"] == narrowed


def test_crd_037_absent_keys_are_asked_and_null_ones_are_not():
    ask = outstanding(
        request(prefetch={"patient": None, "coverage": {"resourceType": "OperationOutcome"}}), templates()
    )
    assert "patient" not in ask.queries
    assert "coverage" not in ask.queries
    assert ask.queries["conditions"] == "Condition?patient=pat-1"
    assert ask.queries["encounter"] == "Encounter/enc-1"
    assert ask.denied == frozenset()


@pytest.mark.parametrize(
    ("prefetch", "kept"),
    [
        (ABSENT, ()),
        ({"coverage": None, "patient": {}}, ("coverage", "patient")),
        ({"cov": {}, "item1": {}, "patient": {}}, ("patient", "cov", "item1")),  # what an alias may be needed for
        # A key that is no plain name may hold anything: it is not written down.
        ({"patient": {}, "Example Sample, born 1950": {}, "mrn-123456": {}, "": {}, "a b": {}}, ("patient",)),
        (
            {**{f"k{chr(97 + number)}": {} for number in range(26)}, "x" * 65: {}},
            tuple(f"k{c}" for c in "abcdefghijklmnop"),
        ),
    ],
)
def test_only_plain_names_of_prefetch_keys_are_written_down(prefetch, kept):
    assert sent_keys(request(prefetch=prefetch)) == kept


def test_nothing_is_asked_without_server_or_token():
    assert outstanding(request(fhirServer=ABSENT, fhirAuthorization=ABSENT), templates()).queries == {}
    assert outstanding(request(fhirAuthorization=ABSENT), templates()).queries == {}
    assert outstanding(request(fhirAuthorization=ABSENT), templates(), open_fhir=True).queries


def test_no_encounter_is_asked_where_there_is_none():
    body = with_context(encounterId=ABSENT)
    body["fhirAuthorization"] = LENT
    ask = outstanding(parse_request(encode(body), service=ORDER_SIGN), templates())
    assert "encounter" not in ask.queries
    assert "encounter" not in ask.denied


def test_crd_022_scopes_suppress_only_what_they_cannot_cover():
    narrow = request(fhirAuthorization=LENT | {"scope": "launch patient/Condition.rs user/Patient.read"})
    ask = outstanding(narrow, templates())
    assert "conditions" in ask.queries
    assert "observations" in ask.denied
    unheard = request(fhirAuthorization=LENT | {"scope": "patient/Condition.rs urn:vendor:scope"})
    assert outstanding(unheard, templates()).denied == frozenset()


@pytest.mark.parametrize(
    ("scope", "types"),
    [
        pytest.param("patient/Patient.read", {"Patient"}, id="v1"),
        pytest.param("patient/Patient.rs", {"Patient"}, id="v2"),
        pytest.param("patient/Patient.cruds", {"Patient"}, id="v2 all"),
        pytest.param("user/*.*", {"*"}, id="v1 all"),
        pytest.param("system/Observation.rs?category=vital-signs", {"Observation"}, id="v2 narrowed"),
        pytest.param("patient/Patient.write", set(), id="writing is not reading"),
        pytest.param("patient/Patient.r", set(), id="read without search"),
        pytest.param("openid fhirUser launch", set(), id="no resource at all"),
        pytest.param("", None, id="empty says nothing"),
        pytest.param("patient/Patient.", None, id="no rights"),
        pytest.param("patient/Patient.sr", None, id="wrong order is not SMART"),
        pytest.param("https://vendor.example.org/scope", None, id="vendor"),
    ],
)
def test_crd_022_both_generations_of_scopes(scope, types):
    assert readable_types(scope) == (None if types is None else frozenset(types))


def test_crd_041_read_by_own_key_and_aliases_of_the_site():
    sent = request(prefetch={"Conditions1": {"a": 1}, "coverage": {"own": 1}, "cov": {"alias": 1}})
    assert by_own_key(sent, {}) is sent.prefetch
    ours = by_own_key(sent, {"Conditions1": "conditions", "cov": "coverage"})
    assert ours["conditions"] == {"a": 1}
    assert ours["coverage"] == {"own": 1}
    assert "conditions" not in outstanding(sent, templates(), aliases={"Conditions1": "conditions"}).queries
