"""Rows of the CDS Hooks and CRD requirement list that only a whole call can show."""

import json
from datetime import date

import msgspec
import pytest

from cds_service.domain.authorization import Authorization
from cds_service.errors import CoverageNotUsable, NotAuthenticated, PrefetchMissing
from cds_service.fhir.models import complaints
from cds_service.ports import Fetched
from tests.support.crd_invariants import broken
from tests.support.hook_calls import bundle
from tests.support.pump_calls import answers, coverage, information, morphine, pump_call, tablets

LENT = {
    "fhirServer": "https://ehr.example.org/fhir",
    "fhirAuthorization": {
        "access_token": "a-token-that-must-not-stay",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.rs",
        "subject": "cds-service",
    },
}
READY = {"questionnaireResponses": bundle(answers())}
GRANTED = Authorization(
    number="PA-1",
    member_id="member-of-cov-1",
    status="active",
    drugs=("morphine",),
    route="intrathecal",
    start=date(2026, 1, 1),
    end=date(2026, 12, 31),
    max_daily={"morphine": "15 mg/d"},
)


def asked(version, **configuration):
    return {"extension": {"davinci-crd.requestedVersion": version, "davinci-crd.configuration": configuration}}


def rules_of(response):
    return [card["source"]["topic"]["code"] for card in response["cards"]]


def test_crd_044_046_099_ready_to_submit(payer):
    response = payer.say(pump_call(**READY))
    assert response["cards"][0]["summary"].startswith("Appears to meet guideline 09-J1000-31")
    said = information(response)
    assert (said["covered"], said["pa-needed"]) == (["covered"], ["auth-needed"])
    assert "doc-needed" not in said


def test_crd_099_135_151_missing_facts_still_get_an_action(payer):
    said = information(payer.say(pump_call()))
    assert (said["doc-needed"], said["doc-purpose"]) == (["clinical"], ["withpa"])
    assert said["questionnaire"] == ["https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15"]
    assert said["reason"][0]["text"]


def test_crd_100_each_order_its_own_action_and_silence_beside_the_guideline(payer):
    pump = {
        "resourceType": "DeviceRequest",
        "id": "pump",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": "Patient/pat-1"},
        "codeCodeableConcept": {
            "coding": [{"system": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "code": "E0783"}]
        },
    }
    response = payer.say(pump_call(morphine(), pump, tablets()))
    assert [action["resource"]["id"] for action in response["systemActions"]] == ["draft-1", "pump"]
    assert {information(response, n)["coverage-assertion-id"][0] for n in (0, 1)} == {
        information(response)["coverage-assertion-id"][0]
    }


def test_crd_104_163_a_bystander_is_named_as_not_concerned(payer):
    card = payer.say(pump_call(morphine(), tablets()))["cards"][0]
    assert card["extension"] == {"davinci-crd.associated-resource": [{"reference": "MedicationRequest/draft-1"}]}


def test_crd_098_100_orders_of_others_are_silent(payer):
    assert payer.say_bytes(pump_call(tablets())) == b'{"cards":[]}'


def test_crd_101_102_order_select_is_quiet(payer):
    body = pump_call() | {"hook": "order-select"}
    body["context"]["selections"] = ["MedicationRequest/draft-1"]
    assert payer.say_bytes(body) == b'{"cards":[]}'


@pytest.mark.parametrize("older", [False, True])
def test_crd_027_028_097_order_dispatch_answers_for_the_dispatched_order(payer, older):
    body = pump_call(medications=bundle(morphine())) | {"hook": "order-dispatch"}
    which = {"order": "MedicationRequest/draft-1"} if older else {"dispatchedOrders": ["MedicationRequest/draft-1"]}
    body["context"] = {"patientId": "pat-1", "performer": "Organization/pharmacy"} | which
    assert information(payer.say(body))["covered"] == ["covered"]


@pytest.mark.parametrize(
    "orders",
    [
        pytest.param((morphine(),), id="missing facts"),
        pytest.param((morphine("0.9"),), id="above the table"),
        pytest.param((morphine("7.5"),), id="suspected unit error"),
        pytest.param((morphine(), morphine(ident="second")), id="two orders"),
    ],
)
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("prefetch", [{}, READY, {"coverage": bundle(coverage(status="cancelled"))}])
def test_crd_002_128_137_every_answer_is_legal_and_nothing_is_empty(payer, orders, version, prefetch):
    response = payer.say(pump_call(*orders, **prefetch) | asked(version))
    assert response["systemActions"]
    for action in response["systemActions"]:
        assert action["type"] == "update"
        assert action["description"]
        assert broken(action["resource"]) == set()
        assert complaints(action["resource"]) == ()

    def walk(value):
        assert value not in ("", None, [], {})
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(response | {"cards": response["cards"] or "none"})


@pytest.mark.parametrize(("version", "system"), [("2.0", "davinci-crd/CodeSystem/temp"), ("2.2", "cdshooks-card-type")])
def test_crd_116_124_126_version_asked_for_wins_over_the_clients(payer, version, system):
    other = "2.2" if version == "2.0" else "2.0"
    card = payer.say(pump_call() | asked(version), crd_version=other)["cards"][0]
    assert card["source"]["topic"]["system"].endswith(system)
    default = payer.say(pump_call(instance=2), crd_version=other)["cards"][0]
    assert not default["source"]["topic"]["system"].endswith(system)


def test_crd_112_150_no_coverage_of_ours_by_version(payer):
    for number, other in enumerate((None, bundle(coverage(payor="Another Health Plan")))):
        assert payer.say_bytes(pump_call(coverage=other, instance=number) | asked("2.0")) == b'{"cards":[]}'
        with pytest.raises(CoverageNotUsable):
            payer.say(pump_call(coverage=other) | asked("2.2"))


def test_crd_040_113_coverage_neither_prefetched_nor_readable(payer):
    body = pump_call()
    del body["prefetch"]["coverage"]
    with pytest.raises(PrefetchMissing) as refused:
        payer.say(body)
    assert "coverage" in refused.value.expression


def test_crd_037_038_153_what_prefetch_lacks_is_pulled_and_null_is_not_asked_again(payer):
    body = pump_call() | LENT
    del body["prefetch"]["coverage"], body["prefetch"]["questionnaireResponses"]
    body["prefetch"]["observations"] = {"resourceType": "OperationOutcome", "issue": []}
    payer.ehr.holds["Coverage?patient=pat-1"] = Fetched("complete", (coverage(),))
    payer.ehr.holds["QuestionnaireResponse?patient=pat-1"] = Fetched("complete", (answers(),))
    assert payer.say(body)["cards"][0]["summary"].startswith("Appears to meet")
    assert sorted(payer.ehr.asked) == ["Coverage?patient=pat-1", "QuestionnaireResponse?patient=pat-1"]


def test_crd_107_108_a_failed_read_of_facts_leaves_them_missing(payer):
    body = pump_call() | LENT
    del body["prefetch"]["questionnaireResponses"]
    payer.ehr.otherwise = Fetched("failed")
    said = information(payer.say(body))
    assert said["doc-needed"] == ["clinical"]
    assert "not available" in said["reason"][0]["text"]


def test_crd_020_the_token_is_nowhere_in_answer_or_store(payer):
    answer = payer.say_bytes(pump_call() | LENT)
    kept = repr(vars(payer.store)).encode() + answer
    assert b"a-token-that-must-not-stay" not in kept


def test_crd_024_a_repeated_call_gets_the_same_bytes(payer):
    assert payer.say_bytes(pump_call()) == payer.say_bytes(pump_call())


def test_crd_082_a_jti_is_for_one_body_only(payer):
    """The design's form of the rule: a retry of the same bytes is answered from store, anything else is refused."""
    first = payer.say_bytes(pump_call(), jti="one")
    assert payer.say_bytes(pump_call(), jti="one") == first
    with pytest.raises(NotAuthenticated):
        payer.say(pump_call(instance=2), jti="one")
    with pytest.raises(NotAuthenticated):
        payer.say(pump_call(), jti="one", strict=True)


def test_crd_140_signing_again_with_our_assertion_on_the_order_changes_nothing(payer):
    first = payer.say(pump_call(**READY))
    again = payer.say(pump_call(first["systemActions"][0]["resource"], instance=2, **READY))
    assert "systemActions" not in again
    assert again["cards"]


def test_crd_122_coverage_info_off_keeps_the_dose_card(payer):
    off = payer.say(pump_call(morphine("0.9")) | asked("2.0", **{"coverage-info": False}))
    assert "systemActions" not in off
    assert rules_of(off) == ["off-guideline"]


def test_crd_118_120_topic_switch_and_card_limit(payer):
    both = payer.say(pump_call(morphine("0.9")))
    assert rules_of(both) == ["off-guideline", "coverage-info"]
    assert rules_of(payer.say(pump_call(morphine("0.9")) | asked("2.0", **{"max-cards": 1}))) == ["off-guideline"]
    off = payer.say(pump_call(morphine("0.9")) | asked("2.0", **{"off-guideline": False}))
    assert rules_of(off) == ["coverage-info"]
    assert off["systemActions"]


def test_crd_123_what_if_calls_report_no_authorization(payer):
    payer.grant(GRANTED)
    assert information(payer.say(pump_call(instance=1)))["satisfied-pa-id"] == ["PA-1"]
    said = information(payer.say(pump_call(instance=2) | asked("2.0", **{"unsolicited-determ": False})))
    assert "satisfied-pa-id" not in said
    assert said["pa-needed"] == ["auth-needed"]


def test_crd_132_146_154_an_authorization_on_file_answers_without_a_card(payer):
    payer.grant(GRANTED)
    response = payer.say(pump_call() | asked("2.2"))
    assert response["cards"] == []
    said = information(response)
    assert said["pa-needed"] == ["satisfied"]
    assert said["expiry-date"] == ["2026-12-31"]
    assert len(said["detail"]) == 2


def test_crd_149_coverage_out_of_period_is_not_covered(payer):
    ended = coverage(period={"start": "2025-01-01", "end": "2025-12-31"})
    said = information(payer.say(pump_call(coverage=bundle(ended)) | asked("2.2")))
    assert said["covered"] == ["not-covered"]
    assert "pa-needed" not in said
    assert said["reason"][0]["coding"][0]["code"] == "no-active-coverage"


def test_crd_114_a_missing_patient_or_member_id_is_no_error(payer):
    bare = coverage()
    del bare["subscriberId"]
    assert payer.say(pump_call(patient=None, coverage=bundle(bare)))["systemActions"]


def test_crd_143_two_coverages_two_assertions(payer):
    orders = [morphine(ident=f"draft-{n}", insurance=[{"reference": f"Coverage/cov-{n}"}]) for n in (1, 2)]
    both = bundle(coverage("cov-1"), coverage("cov-2"))
    response = payer.say(pump_call(*orders, coverage=both))
    said = [information(response, n) for n in (0, 1)]
    assert [each["coverage"][0]["reference"] for each in said] == ["Coverage/cov-1", "Coverage/cov-2"]
    assert said[0]["coverage-assertion-id"] != said[1]["coverage-assertion-id"]


def test_crd_158_192_the_assertion_is_found_by_its_id(payer):
    ident = information(payer.say(pump_call()))["coverage-assertion-id"][0]
    document = json.loads(payer.store.determination(ident))
    assert document["orders"][0]["order"] == "MedicationRequest/draft-1"


def test_crd_159_a_suspected_unit_error_is_the_only_critical_card(payer):
    assert payer.say(pump_call(morphine("7.5")))["cards"][0]["indicator"] == "critical"
    assert payer.say(pump_call(morphine("0.9"), instance=2))["cards"][0]["indicator"] == "warning"


def test_crd_157_the_answer_does_not_depend_on_the_channel(payer):
    """Prefetched or pulled: the same facts give the same words."""
    sent = payer.say(pump_call(**READY))
    body = pump_call(instance=2) | LENT
    del body["prefetch"]["questionnaireResponses"]
    payer.ehr.holds["QuestionnaireResponse?patient=pat-1"] = Fetched("complete", (answers(),))
    pulled = payer.say(body)
    assert pulled["cards"] == sent["cards"]
    assert information(pulled) == information(sent)


def test_crd_186_188_a_collection_bundle_without_server_is_answered(payer):
    body = pump_call()
    assert "fhirServer" not in body
    assert payer.say(body)["systemActions"]


@pytest.mark.parametrize(("extension", "answered"), [("ext-billing-options", True), ("something-else", False)])
def test_crd_187_billing_options_tell_what_a_service_is(payer, extension, answered):
    """A pump ordered in the site's own code, with the national code as the option for billing."""
    option = {
        "url": f"http://hl7.org/fhir/us/davinci-crd/StructureDefinition/{extension}",
        "valueCodeableConcept": {
            "coding": [{"system": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "code": "E0783"}]
        },
    }
    pump = {
        "resourceType": "DeviceRequest",
        "id": "pump",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": "Patient/pat-1"},
        "codeCodeableConcept": {"text": "programmable pump", "extension": [option]},
    }
    assert ("systemActions" in payer.say(pump_call(pump))) == answered


def test_crd_194_no_insignificant_whitespace(payer):
    answer = payer.say_bytes(pump_call())
    assert msgspec.json.encode(msgspec.json.decode(answer)) == answer


def test_crd_165_167_an_instructions_card_has_detail_and_no_links(payer):
    """Inferno's third required response type: a redirect tells what to do, and there is nothing of ours to open."""
    employee = coverage(type={"text": "FEP"})
    card = payer.say(pump_call(coverage=bundle(employee)))["cards"][0]
    assert "FEP" in card["summary"]
    assert card["detail"]
    assert not {"links", "suggestions"} & set(card)


def test_crd_164_166_every_link_is_absolute_and_leads_to_our_public_page(payer):
    for card in payer.say(pump_call(morphine("0.9")))["cards"]:
        assert [link["type"] for link in card["links"]] == ["absolute"]
        assert card["links"][0]["url"] == "https://cds.example.org/policies/09-J1000-31"
