"""The authorization request, the callback and the token response (SM-09 to SM-27, SM-38, SM-39; rows 99, 100, 103)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec
import pytest

from smart_app.registry import EhrProfile
from smart_app.smart import context
from smart_app.smart.scopes import may_save
from smart_app.smart.tokens import read_response
from tests.support.smart_ehr import CLIENT, REDIRECT, SmartEhr
from tests.support.smart_visit import PUBLIC, reason_of, set_cookies

SAVING = "patient/QuestionnaireResponse.cu"


def test_SM09_exactly_these_parameters(ehr, browser):
    browser.begin(ehr)
    asked = browser.asked()
    assert set(asked) == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "aud", "code_challenge",
        "code_challenge_method", "launch", "nonce",
    }  # fmt: skip
    assert (asked["response_type"], asked["client_id"], asked["redirect_uri"]) == ("code", CLIENT, REDIRECT)


def test_SM10_aud_is_the_fhir_base_as_the_ehr_wrote_it(ehr, browser):
    browser.begin(ehr)
    assert browser.asked()["aud"] == ehr.iss


def test_SM11_SM12_state_verifier_and_nonce_are_long_and_new_each_time(ehr, browser):
    seen = []
    for _ in range(3):
        browser.open(ehr)
        seen.append((browser.asked()["state"], browser.asked()["nonce"], ehr.token_calls[-1].form["code_verifier"]))
    values = [value for each in seen for value in each]
    assert len(set(values)) == 9
    assert all(len(value) == 43 for value in values)  # 256 bits in base64url


def test_SM12_the_challenge_is_s256_of_the_verifier_without_padding(ehr, browser):
    browser.open(ehr)
    verifier = ehr.token_calls[0].form["code_verifier"]
    assert re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", verifier)
    digest = hashlib.sha256(verifier.encode()).digest()
    assert browser.asked()["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_SM13_default_scopes(ehr, browser):
    browser.begin(ehr)
    assert browser.asked()["scope"] == f"launch openid fhirUser patient/*.rs {SAVING}"


def test_SM13_narrow_scopes_name_each_resource(app, ehr):
    app.register(ehr, scopes="narrow", extra_scopes=["user/Organization.r"])
    browser = app.browser()
    browser.begin(ehr)
    scopes = browser.asked()["scope"].split()
    assert not any("*" in scope for scope in scopes)
    named = ("Condition", "MedicationRequest", "Observation", "Procedure", "DocumentReference", "Coverage")
    assert {f"patient/{kind}.rs" for kind in named} <= set(scopes)
    assert {SAVING, "user/Practitioner.r", "user/Organization.r", "openid", "fhirUser", "launch"} <= set(scopes)


@pytest.mark.parametrize(("refresh", "scope"), [("offline", "offline_access"), ("online", "online_access")])
def test_SM13_SM44_refresh_is_asked_for_by_configuration_only(app, ehr, refresh, scope):
    browser = app.browser()
    browser.begin(ehr)
    assert not {"offline_access", "online_access"} & set(browser.asked()["scope"].split())
    app.register(ehr, refresh=refresh)
    app._flask = None
    browser = app.browser()
    browser.begin(ehr)
    assert scope in browser.asked()["scope"].split()


def test_SM14_v1_scopes_only_where_v2_is_not_offered(app, ehr):
    ehr.discovery["capabilities"].append("permission-v1")
    browser = app.browser()
    browser.begin(ehr)
    assert SAVING in browser.asked()["scope"]
    ehr.discovery["capabilities"].remove("permission-v2")
    app.parts.launches.discovery.forget(app.parts.registry.ehrs["ehr"])
    launch_id = browser.open(ehr)
    assert browser.asked()["scope"].split()[-2:] == ["patient/*.read", "patient/QuestionnaireResponse.write"]
    assert app.parts.launches.find(launch_id, browser.cookie(launch_id)).may_save


def test_SM14_letters_stand_in_the_order_of_the_standard(app, ehr):
    for preset in ("wide", "narrow"):
        app.register(ehr, scopes=preset)
        app._flask = None
        browser = app.browser()
        browser.begin(ehr)
        letters = [scope.rpartition(".")[2] for scope in browser.asked()["scope"].split() if "/" in scope]
        assert letters
        assert all(re.fullmatch("c?r?u?d?s?", each) and each for each in letters)


def test_SM15_the_request_is_a_redirect_even_where_post_is_offered(ehr, browser):
    ehr.discovery["capabilities"].append("authorize-post")
    response = browser.begin(ehr)
    assert response.status_code == 303
    browser.authorize()
    assert [each.method for each in ehr.to("/auth/authorize")] == ["GET"]


def test_SM16_the_state_row_is_server_side_single_use_and_short_lived(app, ehr, browser, caplog):
    begun = browser.get(f"/launch?iss={quote(ehr.iss, safe='')}&launch=x")
    (line,) = set_cookies(begun).values()
    assert "Max-Age=600" in line
    browser.begin(ehr)
    state = browser.asked()["state"]
    with app.parts.store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM attempt").all()
    assert state not in str(rows)  # neither state nor verifier nor nonce in the clear
    assert browser.asked()["nonce"] not in str(rows)
    callback = browser.authorize()
    app.clock.forward(minutes=10, seconds=1)
    assert browser.get(callback).status_code == 400
    assert reason_of(caplog) == "state_refused"
    assert ehr.token_calls == []


@pytest.mark.parametrize("kind", ["none", "other", "empty", "two", "reused", "expired", "other browser"])
def test_SM17_bad_input_99_a_state_that_is_not_this_browsers_own(app, ehr, browser, kind):
    browser.begin(ehr)
    callback = browser.authorize()
    state = browser.asked()["state"]
    path = {
        "none": callback.replace(f"state={state}", ""),
        "other": callback.replace(state, "A" * 43),
        "empty": callback.replace(state, ""),
        "two": callback + f"&state={state}",
    }.get(kind, callback)
    visitor, tokens = browser, 0
    if kind == "reused":
        assert browser.get(callback).status_code == 303
        tokens = 1
    if kind == "expired":
        app.clock.forward(minutes=11)
    if kind == "other browser":
        visitor = app.browser()
    response = visitor.get(path)
    assert response.status_code == 400
    assert len(ehr.token_calls) == tokens
    assert not [name for name in set_cookies(response) if "launch" in name]


@pytest.mark.parametrize("first", [0, 1])
def test_SM17_of_two_processes_that_get_one_callback_only_one_opens(app, ehr, browser, first):
    browser.begin(ehr)
    callback = browser.authorize()
    name = f"__Host-smart-attempt-{hashlib.sha256(browser.asked()['state'].encode()).hexdigest()[:16]}"
    cookie = {"Cookie": f"{name}={browser.client.get_cookie(name, domain='app.example.net').value}"}
    processes = [app.flask, app.another_process()]
    found = [
        process.test_client(use_cookies=False).get(callback, base_url=PUBLIC, headers=cookie).status_code
        for process in (processes[first], processes[1 - first])
    ]
    assert found == [303, 400]
    assert len(ehr.token_calls) == 1


def test_SM18_an_error_is_shown_escaped_and_not_logged(ehr, browser, caplog):
    ehr.callback = {"code": ..., "error": "access_denied", "error_description": "<script>alert(1)</script> canary-text"}
    response = browser.launch(ehr)
    assert response.status_code == 403
    assert "&lt;script&gt;alert(1)&lt;/script&gt; canary-text" in response.text
    assert "<script>" not in response.text
    assert f'href="/launch?iss={quote(ehr.iss, safe="")}&amp;launch=launch-1"' in response.text
    assert "canary-text" not in caplog.text
    assert ehr.token_calls == []


def test_SM18_an_error_with_a_foreign_state_shows_nothing_of_it(browser):
    response = browser.get("/callback?error=access_denied&error_description=canary-text&state=unknown")
    assert response.status_code == 400
    assert "canary-text" not in response.text


def test_SM19_an_ehr_that_promises_its_issuer_in_the_callback_has_to_name_it(ehr, browser, caplog):
    """RFC 9207, 2.4."""
    ehr.discovery["authorization_response_iss_parameter_supported"] = True
    ehr.callback = {"iss": ...}
    assert "not from the EHR that was asked" in browser.launch(ehr).text
    assert reason_of(caplog) == "issuer_mixed_up"
    assert ehr.token_calls == []
    ehr.callback = {"iss": ehr.url}
    browser.open(ehr)


@pytest.mark.parametrize(("told", "status"), [(..., 303), ("own", 303), ("https://other.example.org", 400), ("", 400)])
def test_SM19_bad_input_100_the_issuer_in_the_callback_must_be_the_one_asked(ehr, browser, told, status, caplog):
    ehr.callback = {"iss": ehr.url if told == "own" else told}
    response = browser.launch(ehr)
    assert response.status_code == status
    if status == 400:
        assert reason_of(caplog) == "issuer_mixed_up"
        assert ehr.token_calls == []


def test_bad_input_100_a_code_of_another_server_goes_to_the_stored_server_only(app, ehr, app_keys, caplog):
    with SmartEhr(app_keys.signing.public_set) as other:
        app.register(other, "other")
        browser = app.browser()
        browser.begin(other)
        foreign = browser.authorize()
        code = re.search(r"code=([^&]+)", foreign)[1]
        browser.begin(ehr)
        own = browser.authorize()
        mixed = re.sub(r"code=[^&]+", f"code={code}", own)
        assert browser.get(mixed).status_code == 400
        assert reason_of(caplog) == "token_http_400_invalid_grant"
        assert other.token_calls == []
        assert [each.form["code"] for each in ehr.token_calls] == [code]


def test_bad_input_100_discovery_that_changes_meanwhile_does_not_move_the_code(app, ehr, browser):
    browser.begin(ehr)
    ehr.discovery["token_endpoint"] = f"{ehr.url}/auth/other-token"
    app.parts.launches.discovery.forget(app.parts.registry.ehrs["ehr"])
    assert browser.get(browser.authorize()).status_code == 303
    assert ehr.to("/auth/other-token") == []


def test_SM20_the_token_request(ehr, browser):
    browser.open(ehr)
    (call,) = ehr.token_calls
    assert call.method == "POST"
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert set(call.form) == {
        "grant_type", "code", "redirect_uri", "code_verifier", "client_assertion_type", "client_assertion",
    }  # fmt: skip
    assert (call.form["grant_type"], call.form["redirect_uri"]) == ("authorization_code", REDIRECT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"access_token": ...}, "no access_token"),
        ({"access_token": ""}, "no access_token"),
        ({"access_token": "a\nb"}, "no access_token"),
        ({"access_token": 7}, "no access_token"),
        ({"token_type": ...}, "token_type is not Bearer"),
        ({"token_type": "mac"}, "token_type is not Bearer"),
        ({"scope": ...}, "no scope"),
    ],
)
def test_SM21_an_incomplete_token_response_opens_nothing(app, ehr, browser, change, said):
    ehr.token_response = change
    response = browser.launch(ehr)
    assert response.status_code == 502
    assert said in response.text
    assert not [name for name in set_cookies(response) if "launch" in name]
    with app.parts.store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM launch").scalar() == 0


def test_SM21_token_type_is_compared_without_case(ehr, browser):
    ehr.token_response = {"token_type": "bEaReR"}
    browser.open(ehr)


def test_SM22_without_permission_to_save_the_app_is_download_only_and_says_so(app, ehr, browser):
    ehr.granted = lambda scope: scope.replace(SAVING, "patient/QuestionnaireResponse.c")
    launch_id = browser.open(ehr)
    assert app.parts.launches.find(launch_id, browser.cookie(launch_id)).mode == "download_only"
    assert "Download only." in browser.get(f"/l/{launch_id}/about").text


@pytest.mark.parametrize(
    ("granted", "mode"),
    [
        ("patient/QuestionnaireResponse.cu", "full"),
        ("patient/QuestionnaireResponse.cruds", "full"),
        ("patient/*.cud", "full"),
        ("user/QuestionnaireResponse.c patient/QuestionnaireResponse.u", "full"),
        ("patient/*.write", "full"),
        ("patient/QuestionnaireResponse.cu?status=in-progress", "download_only"),
        ("patient/QuestionnaireResponse.rs", "download_only"),
        ("patient/Questionnaire.cu", "download_only"),
        ("patient/QuestionnaireResponse.uc", "download_only"),
        ("", "download_only"),
    ],
)
def test_SM22_which_grants_allow_saving(granted, mode):
    assert ("full" if may_save(tuple(granted.split())) else "download_only") == mode


def test_SM22_more_than_requested_is_accepted_and_noted(ehr, browser, caplog):
    ehr.granted = lambda scope: scope + " user/*.cruds"
    browser.open(ehr)
    noted = [each for each in caplog.records if "granted more" in each.msg]
    assert [each.count for each in noted] == [1]


def test_SM23_a_patient_scope_without_a_patient_stops(ehr, browser, caplog):
    ehr.context = {}
    response = browser.launch(ehr)
    assert response.status_code == 409
    assert reason_of(caplog) == "patient_scope_without_patient"
    assert "No patient was chosen" in response.text


@pytest.mark.parametrize("patient", ["../../etc", "a b", "a/b/c", "x" * 600, "a?b"])
def test_SM23_a_patient_that_is_no_id_stops(ehr, browser, patient):
    ehr.context = {"patient": patient}
    assert browser.launch(ehr).status_code in {409, 502}
    assert not [each for each in ehr.seen if each.path.startswith("/fhir/Patient")]


def test_bad_input_103_an_app_context_about_another_patient_opens_nothing(ehr, browser, caplog):
    ehr.context |= {"appContext": '{"patient":"Patient/somebody-else","context":"h"}'}
    response = browser.launch(ehr)
    assert response.status_code == 409
    assert "about another patient" in response.text
    assert reason_of(caplog) == "app_context_names_another_patient"


@pytest.mark.parametrize("text", ['{"patient":"Patient/pat-1"}', '{"patient":"pat-1"}', '{"context":"h"}', "a=b", ""])
def test_bad_input_103_an_app_context_about_this_patient_or_none_is_fine(ehr, browser, text):
    ehr.context |= {"appContext": text}
    browser.open(ehr)


def test_SM24_tokens_are_refreshed_at_80_percent_and_absent_expiry_is_five_minutes():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    usual = {"access_token": "a", "token_type": "Bearer", "scope": "x"}
    # expires_in, seconds until refresh, seconds until it is not used any more
    for given, refresh, life in (
        (1000, 800, 1000), ("1000", 800, 1000), (1000.0, 800, 1000), (..., 240, 300), ("soon", 240, 300), (0, 240, 300),
        (-5, 240, 300), (True, 240, 300), (10**9, 69_120, 86_400),
    ):  # fmt: skip
        body = {name: value for name, value in (usual | {"expires_in": given}).items() if value is not ...}
        tokens = read_response(json.dumps(body).encode(), now).tokens
        assert (tokens.refresh_at - now, tokens.expires - now) == (timedelta(seconds=refresh), timedelta(seconds=life))


def test_SM25_tokens_stay_at_the_server_and_are_sealed(app, ehr):
    app.register(ehr, refresh="offline")
    browser = app.browser()
    launch_id = browser.open(ehr)
    texts = [browser.get(f"/l/{launch_id}/about").text, str(browser.client._cookies)]
    with app.parts.store.engine.connect() as connection:
        texts.append(str(connection.exec_driver_sql("SELECT * FROM launch").all()))
    secrets = [*ehr.access, *ehr.refresh_tokens]
    assert len(secrets) == 2
    assert not [secret for secret in secrets for text in texts if secret in text]
    assert "Canaryname" not in texts[2]
    assert "pat-1" not in texts[2]
    database = app.settings.sqlite_path
    raw = b"".join(each.read_bytes() for each in database.parent.glob(database.name + "*"))
    assert not [secret for secret in (*secrets, "Canaryname", "MRN-CANARY-77") if secret.encode() in raw]


@pytest.mark.parametrize(
    ("framed", "wanted", "unwanted"),
    [(True, {"SameSite=None", "Partitioned"}, {"SameSite=Lax"}), (False, {"SameSite=Lax"}, {"Partitioned"})],
)
def test_SM25_bad_input_107_cookie_flags(app, ehr, framed, wanted, unwanted):
    browser = app.browser(framed=framed)
    lines = list(set_cookies(browser.get(f"/launch?iss={quote(ehr.iss, safe='')}&launch=x")).values())
    lines += [line for line in set_cookies(browser.launch(ehr)).values() if "Max-Age=0" not in line]
    assert len(lines) == 2
    for line in lines:
        flags = {part.strip() for part in line.split(";")}
        assert line.startswith("__Host-")
        assert {"Secure", "HttpOnly", "Path=/", *wanted} <= flags
        assert not flags & unwanted
        assert "Domain" not in line


def test_bad_input_107_on_plain_http_of_ones_own_machine_cookies_are_lax_and_say_no_prefix(app, ehr):
    app.settings = msgspec.structs.replace(app.settings, public_url="http://127.0.0.1:8090")
    response = app.browser(framed=True).get(f"/launch?iss={quote(ehr.iss, safe='')}&launch=x")
    (line,) = set_cookies(response).values()
    assert line.startswith("smart-attempt-")
    assert "SameSite=Lax" in line
    assert "HttpOnly" in line
    assert "Secure" not in line


@pytest.mark.parametrize("name", ["next", "redirect", "return_to", "url", "target_link_uri"])
def test_SM26_nothing_forwards_to_an_address_that_was_sent(ehr, browser, name):
    evil = quote("https://evil.example.com/", safe="")
    begun = browser.get(f"/launch?iss={quote(ehr.iss, safe='')}&launch=x&{name}={evil}")
    assert "evil" not in begun.location
    browser.begin(ehr)
    response = browser.get(browser.authorize() + f"&{name}={evil}")
    assert response.status_code == 303
    assert "evil" not in response.location + response.text


def test_SM27_after_the_callback_the_address_holds_neither_code_nor_state(ehr, browser):
    response = browser.launch(ehr)
    assert response.status_code == 303
    assert re.fullmatch(r"/l/[A-Za-z0-9_-]{32}/start", response.location)
    following = browser.get(response.location)
    assert following.location == response.location.replace("start", "")
    page = browser.get(response.location.replace("start", "about"))
    for each in (response, following, page):
        assert each.headers["Referrer-Policy"] == "no-referrer"
        assert each.headers["Cache-Control"] == "no-store"


def test_SM38_the_launch_context_is_read_and_unknown_members_are_ignored(app, ehr, browser):
    ehr.context = {
        "patient": "pat-1",
        "encounter": "enc-1",
        "need_patient_banner": False,
        "smart_style_url": "https://ehr.example.org/style.json",
        "intent": "order-detail",
        "tenant": "t-1",
        "appContext": "questionnaire=a&context=b",
        "something_else": {"x": [1]},
        "fhirContext": [{"reference": "MedicationRequest/m-1"}],
    }
    launch_id = browser.open(ehr)
    launch = app.parts.launches.find(launch_id, browser.cookie(launch_id))
    assert (launch.patient, launch.encounter, launch.intent, launch.tenant) == ("pat-1", "enc-1", "order-detail", "t-1")
    assert launch.need_patient_banner is False
    assert launch.smart_style_url == "https://ehr.example.org/style.json"
    assert launch.app_context == "questionnaire=a&context=b"
    assert [each.reference for each in launch.fhir_context] == ["MedicationRequest/m-1"]
    assert launch.patient_reference == "Patient/pat-1"


def test_SM38_app_context_as_an_object_is_taken_as_json(app, ehr, browser):
    ehr.context |= {"appContext": {"context": "h"}}
    launch_id = browser.open(ehr)
    assert app.parts.launches.find(launch_id, browser.cookie(launch_id)).app_context == '{"context":"h"}'


def test_SM39_fhir_context_items(app):
    profile = EhrProfile(id="e", name="E", iss="https://ehr.example.org/fhir", client_id="c")
    # given item, what is kept: (reference, canonical, identifier, type, role), None: left out
    rows = [
        ({"reference": "ServiceRequest/1"}, ("ServiceRequest/1", "", None, "ServiceRequest", "")),
        ({"reference": "https://ehr.example.org/fhir/Task/1"}, ("Task/1", "", None, "Task", "")),
        ({"canonical": "https://x.example/Questionnaire/q|1", "type": "Questionnaire"},
         ("", "https://x.example/Questionnaire/q|1", None, "Questionnaire", "")),
        ({"identifier": {"value": "7"}, "type": "Coverage"}, ("", "", {"value": "7"}, "Coverage", "")),
        ({"reference": "Patient/2"}, None),  # the patient comes from `patient` alone
        ({"reference": "Encounter/2", "role": "launch"}, None),
        ({"reference": "Patient/2", "role": "https://x.example/mother"},
         ("Patient/2", "", None, "Patient", "https://x.example/mother")),
        ({"reference": "https://other.example.org/fhir/Task/1"}, None),
        ({"reference": "../../x"}, None),
        ({"type": "Task"}, None),
        ("Task/1", None),
        (None, None),
    ]  # fmt: skip
    for given, kept in rows:
        found = [
            (each.reference, each.canonical, each.identifier, each.type, each.role)
            for each in context.read_fhir_context([given], profile)
        ]
        assert found == ([] if kept is None else [kept]), given
    assert context.read_fhir_context("x", profile) == ()
    assert len(context.read_fhir_context([{"reference": "Task/1"}] * 1000, profile)) == context.MOST_ITEMS
