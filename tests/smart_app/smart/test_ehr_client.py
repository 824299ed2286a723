"""The EHR's FHIR API as the user of a launch: read, search, save (SM-41, SM-42)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from werkzeug.wrappers import Request, Response

from smart_app.adapters.ehr_client import EhrClient
from smart_app.errors import Relaunch
from tests.support.smart_ehr import Grant, SmartEhr, outcome, plain

TOKEN = "access-canary"


@pytest.fixture
def client(app, ehr) -> EhrClient:
    """With a token that works; a refused one is for good."""
    ehr.access[TOKEN] = Grant("patient/*.rs")

    def token(refused: str) -> str:
        if refused:
            raise Relaunch("no_refresh_token")
        return TOKEN

    return EhrClient(app.parts.outbound, app.parts.registry.ehrs["ehr"], token)


def page(*resources: dict, following: str | None = None, **members: object) -> Callable[[Request], Response]:
    links = [{"relation": "next", "url": following}] if following else []
    entries = [{"resource": each} for each in resources]
    return plain({"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links, **members})


def condition(ident: str) -> dict:
    return {"resourceType": "Condition", "id": ident}


def test_SM41_every_call_carries_the_token_and_asks_for_fhir(ehr, client):
    client.read("Patient/pat-1")
    client.search("Condition", {"patient": "pat-1"})
    calls = [each for each in ehr.seen if each.path.startswith("/fhir/")]
    assert len(calls) == 2
    for call in calls:
        assert call.headers["Authorization"] == f"Bearer {TOKEN}"
        assert call.headers["Accept"] == "application/fhir+json"


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:1/fhir/Patient/pat-1",
        "https://evil.example.com/fhir/Patient/pat-1",
        "//evil.example.com/Patient/1",
        "../Patient/1",
        "Patient/1?x=y",
        "Patient/../../x",
        "urn:uuid:00000000-0000-0000-0000-000000000000",
        "#contained",
        "Patient",
        "",
    ],
)
def test_SM41_a_reference_to_elsewhere_is_not_followed(ehr, client, reference):
    seen = client.read(reference)
    assert (seen.state, seen.why, seen.one) == ("absent", "elsewhere", None)
    assert ehr.seen == []


def test_SM41_an_absolute_reference_on_the_own_base_is_read(ehr, client):
    assert client.read(f"{ehr.iss}/Patient/pat-1").one["id"] == "pat-1"


def test_SM41_a_next_link_to_elsewhere_never_gets_the_token(app, ehr, client, app_keys):
    with SmartEhr(app_keys.signing.public_set) as other:
        ehr.answers["GET /fhir/Condition"] = page(condition("1"), following=f"{other.iss}/Condition?page=2")
        seen = client.search("Condition", {"patient": "pat-1"})
        assert (seen.state, seen.why) == ("partial", "not_allowed")
        assert [each["id"] for each in seen.resources] == ["1"]
        assert other.seen == []


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (outcome(403, "x"), "denied", "http_403"),
        (outcome(404, "x"), "absent", "http_404"),
        (outcome(410, "x"), "absent", "http_410"),
        (outcome(500, "x"), "failed", "http_500"),
        (plain({"resourceType": "Patient", "id": "somebody-else"}), "failed", "another_resource"),
        (plain({"resourceType": "Device", "id": "pat-1"}), "failed", "another_resource"),
        (plain([1]), "failed", "another_resource"),
        (lambda _: Response("<html>", 200), "failed", "another_resource"),
        (lambda _: Response('{"resourceType":"Patient","id":"pat-1","id":"x"}', 200), "failed", "another_resource"),
        (lambda _: Response(status=302, headers={"Location": "/fhir/Patient/2"}), "failed", "http_302"),
    ],
)
def test_SM42_what_cannot_be_read_is_a_value_with_a_reason(ehr, client, answer, state, why):
    ehr.answers["GET /fhir/Patient/pat-1"] = answer
    seen = client.read("Patient/pat-1")
    assert (seen.state, seen.why, seen.one) == (state, why, None)


def test_read_gives_the_version_for_a_later_update(ehr, client):
    assert client.read("Patient/pat-1").etag == 'W/"1"'
    ehr.answers["GET /fhir/Patient/pat-1"] = plain(
        {"resourceType": "Patient", "id": "pat-1", "meta": {"versionId": "7"}}
    )
    assert client.read("Patient/pat-1").etag == 'W/"7"'


def test_search_follows_pages_and_keeps_decimals(ehr, client):
    ehr.answers["GET /fhir/Observation"] = lambda request: Response(
        json.dumps(
            {
                "resourceType": "Bundle",
                "entry": [{"resource": {"resourceType": "Observation", "id": request.args.get("page", "1")}}],
                "link": [] if request.args.get("page") else [{"relation": "next", "url": "Observation?page=2"}],
            }
        ).replace('"id": "2"', '"id": "2", "valueQuantity": {"value": 1.20}')
    )
    seen = client.search("Observation", [("code", "a|b"), ("code", "c d&e=f")])
    assert seen.state == "complete"
    assert [each["id"] for each in seen.resources] == ["1", "2"]
    assert str(seen.resources[1]["valueQuantity"]["value"]) == "1.20"
    assert [dict(each.query) for each in ehr.to("/fhir/Observation")][1] == {"page": "2"}
    assert ehr.to("/fhir/Observation")[0].query["code"] == "a|b"


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (page(), "complete", ""),
        (outcome(403, "x"), "denied", "http_403"),
        (outcome(400, "x"), "failed", "http_400"),
        (outcome(503, "x"), "failed", "http_503"),
        (plain(condition("1")), "failed", "no_bundle"),
        (page(condition("1"), {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}), "partial",
         "the_ehr_says_so"),
        (page(condition("1"), {"resourceType": "OperationOutcome", "issue": [{"severity": "information"}]}), "complete",
         ""),
        (page(entry="x"), "complete", ""),
        (page(entry=[None, {"resource": 7}, {}]), "complete", ""),
    ],
)  # fmt: skip
def test_SM42_a_search_says_how_much_it_saw(ehr, client, answer, state, why):
    ehr.answers["GET /fhir/Condition"] = answer
    seen = client.search("Condition", {"patient": "pat-1"})
    assert (seen.state, seen.why) == (state, why)
    assert all(each["resourceType"] == "Condition" for each in seen.resources)


def test_search_that_never_ends_is_cut(ehr, client):
    ehr.answers["GET /fhir/Condition"] = page(condition("1"), following="Condition?again=1")
    seen = client.search("Condition", {"patient": "pat-1"})
    assert (seen.state, seen.why) == ("partial", "too_many")
    assert len(seen.resources) == 20


def test_search_that_breaks_off_keeps_what_came(ehr, client):
    ehr.answers["GET /fhir/Condition"] = lambda request: (
        outcome(500, "x") if request.args.get("p") else page(condition("1"), following="Condition?p=2")
    )(request)
    seen = client.search("Condition", {"patient": "pat-1"})
    assert (seen.state, seen.why, len(seen.resources)) == ("partial", "http_500", 1)


def test_search_many_asks_at_once_and_keeps_names(ehr, client):
    ehr.answers["GET /fhir/Condition"] = page(condition("1"))
    ehr.answers["GET /fhir/Observation"] = outcome(403, "x")
    seen = client.search_many({"a": ("Condition", {"patient": "1"}), "b": ("Observation", {"patient": "1"})})
    assert {name: each.state for name, each in seen.items()} == {"a": "complete", "b": "denied"}
    assert client.search_many({}) == {}


def test_a_late_ehr_is_late(app, ehr, client):
    def slow(_request: Request) -> Response:
        time.sleep(1.5)
        return Response("{}")

    ehr.answers["GET /fhir/Patient/pat-1"] = slow
    client.profile = msgspec.structs.replace(client.profile, read_seconds=1)
    assert client.read("Patient/pat-1").state == "late"


def test_an_ehr_that_is_gone_fails(app, ehr, client):
    ehr.stop()
    seen = client.read("Patient/pat-1")
    assert seen.state == "failed"


# -- saving


RESPONSE = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}


def test_create_then_update_with_the_version_that_came_back(ehr, client):
    made = client.create(RESPONSE)
    assert (made.state, made.etag) == ("saved", 'W/"1"')
    assert f"QuestionnaireResponse/{made.id}" in ehr.resources
    again = client.update({**RESPONSE, "id": made.id, "status": "completed"}, made.etag)
    assert (again.state, again.etag, again.id) == ("saved", 'W/"2"', made.id)
    put = [each for each in ehr.seen if each.method == "PUT"]
    assert [each.headers["If-Match"] for each in put] == ['W/"1"']
    late = client.update({**RESPONSE, "id": made.id}, made.etag)
    assert late.state == "conflict"


def test_create_without_a_body_takes_the_id_from_the_location(ehr, client):
    where = f"{ehr.iss}/QuestionnaireResponse/new-7/_history/1"
    ehr.answers["POST /fhir/QuestionnaireResponse"] = lambda _: Response(status=201, headers={"Location": where})
    made = client.create(RESPONSE, if_none_exist="identifier=a|b")
    assert (made.state, made.id, made.resource) == ("saved", "new-7", None)
    assert ehr.seen[-1].headers["If-None-Exist"] == "identifier=a|b"
    assert ehr.seen[-1].headers["Prefer"] == "return=representation"


def test_saved_decimals_stay_as_they_were(ehr, client):
    client.create({**RESPONSE, "item": [{"linkId": "a", "answer": [{"valueDecimal": Decimal("1.20")}]}]})
    assert b'"valueDecimal":1.20' in ehr.seen[-1].body


@pytest.mark.parametrize(
    ("status", "state"),
    [(400, "refused"), (403, "refused"), (404, "refused"), (405, "refused"), (409, "conflict"), (412, "conflict"),
     (422, "refused"), (429, "failed"), (500, "failed"), (503, "failed"), (302, "refused")],
)  # fmt: skip
def test_SM42_what_the_ehr_will_not_save_is_a_value_with_its_words(ehr, client, status, state):
    ehr.answers["POST /fhir/QuestionnaireResponse"] = outcome(status, "<b>not this way</b>" + "x" * 1000)
    made = client.create(RESPONSE)
    assert (made.state, made.why, made.id) == (state, f"http_{status}", "")
    assert made.said[0].startswith("<b>not this way</b>x")
    assert len(made.said[0]) == 300


def test_SM42_a_token_that_is_refused_twice_is_gone(app, ehr):
    tokens = iter(("one", "two", "three"))
    client = EhrClient(app.parts.outbound, app.parts.registry.ehrs["ehr"], lambda _refused: next(tokens))
    with pytest.raises(Relaunch):
        client.read("Patient/pat-1")
    assert [each.headers["Authorization"] for each in ehr.seen] == ["Bearer one", "Bearer two"]
