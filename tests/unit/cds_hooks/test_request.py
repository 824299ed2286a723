"""Reading of hook calls: what is refused, with which error, and what is kept."""

import copy

import msgspec
import pytest

from cds_service.cds_hooks.drafts import Limits
from cds_service.cds_hooks.request import parse_request
from cds_service.cds_hooks.services import ORDER_DISPATCH, ORDER_SELECT, ORDER_SIGN, find_service
from cds_service.errors import MalformedRequest, NotFound, PatientMismatch, RuleBroken, TooLarge
from tests.support.hook_calls import ABSENT, DRAFT, MORPHINE_ORDER, SERVER, bundle, call, encode, with_context

LENT = {
    "access_token": "token",
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "patient/*.rs",
    "subject": "cds-service",
}


def parse(body, service=ORDER_SIGN):
    return parse_request(encode(body), service=service)


def test_crd_015_025_reads_an_order_sign_call():
    request = parse(call())
    assert request.hook_instance == "0ce27236-cf79-5680-a12d-99351e7144b4"
    assert (request.patient_id, request.user_id, request.encounter_id) == ("pat-1", "Practitioner/pr-1", "enc-1")
    assert [draft.source for draft in request.drafts] == [DRAFT]
    assert request.fhir_server == SERVER


@pytest.mark.parametrize(
    ("body", "where"),
    [
        pytest.param(call(hook=ABSENT) | {"hook": None}, "hook", id="51-hook-null"),
        pytest.param({k: v for k, v in call().items() if k != "hook"}, "hook", id="51-hook-missing"),
        pytest.param(call("order-select"), "hook", id="51-hook-of-another-service"),
        pytest.param(call(hookInstance=ABSENT), "hookInstance", id="52-missing"),
        pytest.param(call(hookInstance="abc"), "hookInstance", id="52-not-a-uuid"),
        pytest.param(call(hookInstance="0" * 1_000_000), "hookInstance", id="52-one-megabyte"),
        pytest.param(call(context=ABSENT), "context", id="53-missing"),
        pytest.param(call(context=None), "context", id="53-null"),
        pytest.param(call(context=[]), "context", id="53-list"),
        pytest.param(with_context(userId=7), "context.userId", id="53-user-number"),
        pytest.param(with_context(userId="pr-1"), "context.userId", id="34-user-without-type"),
        pytest.param(with_context(userId=ABSENT), "context.userId", id="25-user-missing"),
        pytest.param(with_context(patientId=ABSENT), "context.patientId", id="25-patient-missing"),
        pytest.param(with_context(patientId="Patient/pat-1"), "context.patientId", id="25-patient-not-bare"),
        pytest.param(with_context(patientId="a?b=c"), "context.patientId", id="78-patient-with-query"),
        pytest.param(with_context(encounterId="x/y"), "context.encounterId", id="25-encounter-not-bare"),
        pytest.param(with_context(draftOrders=ABSENT), "context.draftOrders", id="54-missing"),
        pytest.param(with_context(draftOrders=[]), "context.draftOrders", id="54-not-a-bundle"),
        pytest.param(with_context(draftOrders=bundle() | {"entry": {}}), "context.draftOrders.entry", id="55-object"),
        pytest.param(
            with_context(draftOrders=bundle() | {"entry": [None]}),
            "context.draftOrders.entry[0].resource",
            id="55-null-entry",
        ),
        pytest.param(
            with_context(draftOrders=bundle() | {"entry": [{"fullUrl": "urn:x"}]}),
            "context.draftOrders.entry[0].resource",
            id="55-entry-without-resource",
        ),
        pytest.param(
            with_context(draftOrders=bundle({"id": "x"})), "context.draftOrders.entry[0].resource", id="33-no-type"
        ),
        pytest.param(
            with_context(draftOrders=bundle(MORPHINE_ORDER | {"id": 7})),
            "context.draftOrders.entry[0].resource.id",
            id="33-id-number",
        ),
        pytest.param(
            with_context(draftOrders=bundle(MORPHINE_ORDER, MORPHINE_ORDER)),
            "context.draftOrders.entry",
            id="same-order-twice",
        ),
        pytest.param(call(prefetch=[]), "prefetch", id="prefetch-list"),
        pytest.param(call(fhirServer=7), "fhirServer", id="18-server-number"),
        pytest.param(call(fhirServer="ftp://ehr.example.org"), "fhirServer", id="18-server-ftp"),
        pytest.param(call(fhirServer=ABSENT, fhirAuthorization=LENT), "fhirServer", id="17-57-no-server"),
        pytest.param(call(fhirAuthorization=[]), "fhirAuthorization", id="19-list"),
        pytest.param(
            call(fhirAuthorization=LENT | {"token_type": "MAC"}), "fhirAuthorization.token_type", id="57-not-bearer"
        ),
        pytest.param(
            call(fhirAuthorization=LENT | {"access_token": "a\r\nX-Evil: 1"}),
            "fhirAuthorization.access_token",
            id="58-line-break",
        ),
        pytest.param(
            call(fhirAuthorization=LENT | {"access_token": "t\u00f6ken"}),
            "fhirAuthorization.access_token",
            id="58-not-ascii",
        ),
        pytest.param(call(fhirAuthorization=LENT | {"scope": 1}), "fhirAuthorization.scope", id="19-scope-number"),
    ],
)
def test_crd_015_016_017_refuses_and_names_the_element(body, where):
    with pytest.raises(MalformedRequest) as refused:
        parse(body)
    assert refused.value.expression == where
    assert "Evil" not in refused.value.diagnostics


def test_crd_015_malformed_json_is_refused():
    with pytest.raises(MalformedRequest):
        parse_request(b'{"hook": "order-sign"', service=ORDER_SIGN)
    with pytest.raises(MalformedRequest):
        parse_request(b"[]", service=ORDER_SIGN)


def test_crd_016_unknown_service_is_not_found():
    with pytest.raises(NotFound):
        find_service("order-review")
    assert find_service("order-sign") is ORDER_SIGN


def test_bad_input_52_upper_case_instance_is_accepted():
    assert parse(call(hookInstance="0CE27236-CF79-5680-A12D-99351E7144B4")).hook_instance.startswith("0ce27236")


def test_bad_input_55_empty_bundle_has_no_orders():
    assert parse(with_context(draftOrders={"resourceType": "Bundle", "type": "collection"})).drafts == ()
    assert parse(with_context(draftOrders=bundle())).drafts == ()


@pytest.mark.parametrize(("entries", "refused"), [(2_000, False), (2_001, True), (5_000, True)])
def test_bad_input_55_too_many_entries(entries, refused):
    body = with_context(draftOrders=bundle(*(MORPHINE_ORDER | {"id": f"d{n}"} for n in range(entries))))
    if refused:
        with pytest.raises(TooLarge):
            parse(body)
    else:
        assert len(parse(body).drafts) == entries


def test_bad_input_43_limits_are_the_operators():
    with pytest.raises(TooLarge):
        parse_request(encode(call()), service=ORDER_SIGN, limits=Limits(max_bytes=100))


@pytest.mark.parametrize("length", [64, 194, 255])
def test_bad_input_56_long_order_ids(length):
    ident = ("a." * 200)[:length]
    assert parse(with_context(draftOrders=bundle(MORPHINE_ORDER | {"id": ident}))).drafts[0].source.endswith(ident)


def test_an_order_without_id_is_known_by_its_full_url():
    nameless = {key: value for key, value in MORPHINE_ORDER.items() if key != "id"}
    entry = {"fullUrl": "urn:uuid:1f0e", "resource": nameless}
    assert parse(with_context(draftOrders=bundle() | {"entry": [entry]})).drafts[0].source == "urn:uuid:1f0e"


def test_crd_005_023_103_unknown_elements_and_extensions_are_ignored():
    body = call(extension={"com.example.anything": [1]}, surprise={"__proto__": 1})
    body["context"]["constructor"] = "x"
    assert parse(body).drafts[0].source == DRAFT


def test_crd_031_revised_orders_are_read_like_drafts():
    revised = parse(with_context(draftOrders=bundle(MORPHINE_ORDER | {"status": "active"})))
    assert revised.drafts[0].resource["status"] == "active"


def test_crd_032_all_orders_of_the_bundle_are_in_scope():
    body = with_context(draftOrders=bundle(MORPHINE_ORDER, MORPHINE_ORDER | {"id": "draft-2"}))
    assert [draft.source for draft in parse(body).drafts] == [DRAFT, "MedicationRequest/draft-2"]


def test_crd_037_absent_null_and_value_are_kept_apart():
    request = parse(call(prefetch={"coverage": None, "conditions": {"resourceType": "Bundle"}}))
    assert request.prefetch["coverage"] is None
    assert "medications" not in request.prefetch
    assert parse(call(prefetch=None)).prefetch == {}


def test_crd_019_reads_what_was_lent_and_keeps_it_out_of_sight():
    request = parse(call(fhirAuthorization=LENT | {"patient": "pat-1"}))
    assert request.authorization.access_token == "token"
    assert request.authorization.patient == "pat-1"
    assert "token" not in repr(request.authorization)


@pytest.mark.parametrize("lasts", [0, -1, "300", None, True])
def test_bad_input_57_a_token_that_lasts_no_time_is_none(lasts):
    assert parse(call(fhirAuthorization=LENT | {"expires_in": lasts})).authorization is None


def test_crd_021_token_of_another_patient():
    with pytest.raises(PatientMismatch):
        parse(call(fhirAuthorization=LENT | {"patient": "pat-2"}))


def test_crd_188_prefetch_only_calls_are_accepted():
    request = parse(call(fhirServer=ABSENT))
    assert request.fhir_server is None
    assert request.authorization is None


def test_crd_026_order_select_has_selections():
    assert parse(call("order-select"), ORDER_SELECT).selections == (DRAFT,)
    for wrong in (ABSENT, "x", ["draft-1"], [7]):
        with pytest.raises(MalformedRequest):
            parse(with_context("order-select", selections=wrong), ORDER_SELECT)


def test_crd_027_order_dispatch_has_no_user_and_finds_its_orders_in_prefetch():
    request = parse(call("order-dispatch"), ORDER_DISPATCH)
    assert request.dispatched == (DRAFT,)
    assert request.user_id is None
    assert request.performer == "Organization/pharmacy"
    assert [draft.source for draft in request.drafts] == [DRAFT]
    assert request.drafts[0].raw == encode(MORPHINE_ORDER)


def test_crd_028_order_dispatch_older_shape():
    body = with_context("order-dispatch", dispatchedOrders=ABSENT, order=DRAFT, task={"resourceType": "Task"})
    assert parse(body, ORDER_DISPATCH).dispatched == (DRAFT,)


@pytest.mark.parametrize(
    "changes",
    [
        {"performer": ABSENT},
        {"performer": "pharmacy"},
        {"dispatchedOrders": []},
        {"dispatchedOrders": ["draft-1"]},
        {"dispatchedOrders": ABSENT},
    ],
)
def test_crd_027_order_dispatch_refuses_other_shapes(changes):
    with pytest.raises(MalformedRequest):
        parse(with_context("order-dispatch", **changes), ORDER_DISPATCH)


def test_crd_027_a_dispatched_order_that_was_not_sent_is_still_to_be_read():
    body = call("order-dispatch", prefetch={"medications": None, "patient": {"resourceType": "Patient", "id": "pat-1"}})
    request = parse(body, ORDER_DISPATCH)
    assert request.drafts == ()
    assert request.dispatched == (DRAFT,)


def test_crd_124_requested_version():
    asked = call(extension={"davinci-crd.requestedVersion": "2.2"})
    assert parse(asked).version("2.0") == "2.2"
    assert parse(call()).version("2.0") == "2.0"
    for unknown in ("2.1", "9.9", 2.2, ["2.2"]):
        with pytest.raises(RuleBroken):
            parse(call(extension={"davinci-crd.requestedVersion": unknown}))


@pytest.mark.parametrize(("version", "error"), [("2.0", RuleBroken), ("2.2", MalformedRequest)])
def test_crd_111_400_or_422_by_the_version_asked_for(version, error):
    with pytest.raises(error) as refused:
        parse(call(context=ABSENT, extension={"davinci-crd.requestedVersion": version}))
    assert type(refused.value) is error
    assert refused.value.expression == "context"


def test_crd_111_not_json_is_400_whatever_was_asked_for():
    with pytest.raises(MalformedRequest):
        parse_request(b'{"extension":{"davinci-crd.requestedVersion":"2.0"},', service=ORDER_SIGN)


def test_crd_021_another_patients_token_is_400_in_every_version():
    body = call(extension={"davinci-crd.requestedVersion": "2.0"}, fhirAuthorization=LENT | {"patient": "someone-else"})
    with pytest.raises(PatientMismatch):
        parse(body)


def test_crd_139_the_text_of_each_order_is_kept():
    text = b'{"resourceType":"MedicationRequest" , "id":"draft-1","x":1.20,"y":15.00000000000000001}'
    body = encode(call()).replace(encode(MORPHINE_ORDER), text)
    assert parse_request(body, service=ORDER_SIGN).drafts[0].raw == text


def test_crd_121_configuration_and_115_its_absence():
    request = parse(call(extension={"davinci-crd.configuration": {"coverage-info": False, "max-cards": 1}}))
    assert not request.options.coverage_info
    assert request.options.max_cards == 1
    assert parse(call(extension=ABSENT)).options.coverage_info
    assert parse(call(extension=[])).options.coverage_info


def test_the_call_is_left_as_it_was():
    body = call()
    before = copy.deepcopy(body)
    parse_request(msgspec.json.encode(body), service=ORDER_SIGN)
    assert body == before
