"""SMART Backend Services at the payer (SM-49 to SM-53): real assertions, real tokens, a real store."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from werkzeug.test import Client

from cds_service.adapters.backend_tokens import BackendTokens
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.adapters.sql.migrate import migrate
from cds_service.backend_clients import BackendClient, covers, granted
from cds_service.errors import NotAllowed, NotAuthenticated
from tests.support.e2e_service import BASE, SYSTEM, SYSTEM_SCOPES, Service, running
from tests.support.hook_tokens import b64, claims, ec, public, sign
from tests.support.web_twins import ASSERTION_FORM

URL = f"{BASE}/oauth/token"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = tmp_path_factory.mktemp("tokens") / "cds.sqlite3"
    migrate(f"sqlite:///{path}")
    with running(path) as started:
        yield started


def ask(service: Service, assertion: str, **changes: str) -> Any:
    form = {**ASSERTION_FORM, "scope": "system/Questionnaire.rs", "client_assertion": assertion, **changes}
    return service.ask_token(**{name: value for name, value in form.items() if value is not None})


def verified(service: Service, token: str, kind: str = "Questionnaire", letters: str = "r") -> Any:
    return service.systems_door.verify((f"Bearer {token}",), kind, letters)


def test_SM49_SM53_an_assertion_buys_a_token_of_five_minutes_that_is_never_cached(service: Service) -> None:
    answer = ask(service, service.system_assertion())
    assert answer.status == 200, answer.bytes
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert answer.json["token_type"] == "Bearer"
    assert 0 < answer.json["expires_in"] <= 300
    assert answer.json["scope"] == "system/Questionnaire.rs"
    assert verified(service, answer.json["access_token"]).client.id == SYSTEM


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("system/Questionnaire.rs system/ValueSet.rs", "system/Questionnaire.rs system/ValueSet.rs"),
        ("system/questionnaire.rs", "system/questionnaire.rs"),  # as the guide prints it
        ("system/Questionnaire.read", "system/Questionnaire.read"),  # SMART 1
        ("system/Questionnaire.cruds", "system/Questionnaire.rs"),  # narrowed
        ("system/*.rs", "system/Questionnaire.rs system/ValueSet.rs system/Library.rs system/Subscription.rs"),
        ("patient/Questionnaire.rs system/Library.r", "system/Library.r"),  # another context is never granted
    ],
)
def test_SM50_scopes_are_granted_as_far_as_they_are_registered(asked: str, given: str) -> None:
    assert " ".join(granted(asked.split(), SYSTEM_SCOPES)) == given


@pytest.mark.parametrize(
    ("scopes", "kind", "letters", "expected"),
    [
        (["system/Questionnaire.rs"], "Questionnaire", "r", True),
        (["system/questionnaire.rs"], "Questionnaire", "rs", True),
        (["system/*.cruds"], "Claim", "c", True),
        (["system/Claim.cu"], "Claim", "c", True),
        (["system/Claim.c", "system/Claim.u"], "Claim", "cu", True),
        (["system/Claim.r"], "Claim", "c", False),
        (["system/ClaimResponse.cu"], "Claim", "c", False),
        (["patient/*.cruds"], "Claim", "c", False),
        (["system/Questionnaire.sr"], "Questionnaire", "r", False),  # letters out of order are no scope
        (["system/Questionnaire.r?status=active"], "Questionnaire", "r", False),  # narrower than the call
    ],
)
def test_SM50_what_a_scope_covers(scopes: list[str], kind: str, letters: str, expected: bool) -> None:
    assert covers(scopes, kind, letters) is expected


NOW_PLUS = {"late": 300 + 60 + 5, "over": -65}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "nobody", "sub": "nobody"}, "issuer"),
        ({"sub": "somebody-else"}, "subject"),
        ({"sub": ...}, "claims_malformed"),
        ({"jti": ...}, "claims_malformed"),
        ({"jti": ""}, "jti"),
        ({"aud": BASE}, "audience"),
        ({"aud": f"{URL}/"}, "audience"),
        ({"aud": [BASE]}, "audience"),
        ({"exp": "late"}, "life_too_long"),
        ({"exp": "over"}, "expired"),
        ({"exp": "2030-01-01"}, "claims_malformed"),
        ({"iat": "late"}, "issued_in_future"),
        ({"nbf": "late"}, "not_yet_valid"),
    ],
)
def test_SM51_an_assertion_that_is_not_good_buys_nothing(
    service: Service, changes: dict[str, Any], reason: str
) -> None:
    moved = dict(changes)
    for name in ("exp", "iat", "nbf"):
        if moved.get(name) in NOW_PLUS:
            moved[name] = int(service.clock.at) + NOW_PLUS[moved[name]]
    answer = ask(service, service.system_assertion(**moved))
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert answer.headers["Cache-Control"] == "no-store"
    assert service.last()["reason"] == reason
    assert reason not in answer.bytes.decode()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "ES384", "kid": "other", "typ": "JWT"}, "key_unknown"),
        ({"alg": "ES384", "typ": "JWT"}, "kid"),
        ({"alg": "HS256", "kid": "k1", "typ": "JWT"}, "algorithm"),
        ({"alg": "none", "kid": "k1"}, "algorithm"),
        ({"alg": "ES384", "kid": "k1", "typ": "JWT", "jku": "https://evil.example.org/keys"}, "jku"),
    ],
)
def test_SM51_a_header_that_is_not_good_buys_nothing(service: Service, header: dict[str, str], reason: str) -> None:
    _, payload, signature = service.system_assertion().split(".")
    answer = ask(service, ".".join((b64(json.dumps(header).encode()), payload, signature)))
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert service.last()["reason"] == reason


def test_SM51_a_signature_of_another_key_buys_nothing(service: Service) -> None:
    now = int(service.clock.at)
    forged = sign(ec("other"), claims(iss=SYSTEM, sub=SYSTEM, aud=URL, iat=now, exp=now + 300, jti=str(uuid.uuid4())))
    assert ask(service, forged).status == 401
    assert service.last()["reason"] == "signature"


def test_SM51_an_assertion_is_used_once_also_by_another_process(service: Service) -> None:
    assertion = service.system_assertion()
    assert ask(service, assertion).status == 200
    assert ask(service, assertion).status == 401
    assert service.last()["reason"] == "jti_replayed"
    with running(service.database) as other:
        assert ask(other, assertion).status == 401
        assert other.last()["reason"] == "jti_replayed"


def test_SM51_two_keys_under_one_kid_verify_nothing(service: Service) -> None:
    twice = {"keys": [public(ec("e2e"), "k1"), public(ec("other"), "k1")]}
    door = _door(service, BackendClient(id=SYSTEM, name="x", jwks=twice, scopes=SYSTEM_SCOPES))
    with pytest.raises(NotAuthenticated) as refused:
        door.grant(service.system_assertion(), "system/Questionnaire.rs")
    assert refused.value.reason in {"key_unknown", "jwks_unavailable"}


def test_SM51_a_disabled_client_gets_no_token_and_its_tokens_end(service: Service) -> None:
    token = service.system_token()
    disabled = msgspec.structs.replace(service.systems[SYSTEM], enabled=False)
    door = _door(service, disabled)
    with pytest.raises(NotAuthenticated, match="client authentication failed"):
        door.grant(service.system_assertion(), "system/Questionnaire.rs")
    with pytest.raises(NotAuthenticated):
        door.verify((f"Bearer {token}",), "Questionnaire", "r")


def _door(service: Service, client: BackendClient) -> BackendTokens:
    return BackendTokens(
        {client.id: client},
        KeyRing(GuardedKeyFetch(service.http, service.clock), service.clock),
        service.sql,
        ec("tokens"),
        clock=service.clock,
        new_id=lambda: str(uuid.uuid4()),
        public_url=BASE,
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"client_assertion": ""}, "invalid_request"),
        ({"client_assertion_type": "urn:other"}, "invalid_request"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "system/Patient.rs"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
    ],
)
def test_SM49_a_token_request_that_cannot_be_answered(service: Service, changes: dict[str, Any], error: str) -> None:
    answer = ask(service, changes.pop("client_assertion", service.system_assertion()), **changes)
    assert (answer.status, answer.json["error"]) == (400, error)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"a=1&a=2", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"x" * 70_000, "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
    ],
)
def test_bad_input_a_token_request_that_is_no_form(service: Service, body: bytes, content_type: str) -> None:
    with Client(service.application).post("/oauth/token", data=body, content_type=content_type) as response:
        assert response.status_code == 400
        assert response.get_json()["error"] in {"invalid_request", "unsupported_grant_type"}


def test_SM49_a_token_of_ours_is_not_forged_nor_moved_nor_outlived(service: Service) -> None:
    token = service.system_token()
    now = int(service.clock.at)
    usual = {"iss": BASE, "aud": BASE, "client_id": SYSTEM, "scope": "system/*.rs", "exp": now + 300}

    def made(key: Any = None, **changes: Any) -> str:
        return jwt.encode({"alg": "ES384"}, {**usual, **changes}, key or ec("tokens"), algorithms=["ES384"])

    assert verified(service, made()).client.id == SYSTEM
    for forged in (
        made(ec("other")),
        made(aud="https://elsewhere.example.org"),
        made(iss="https://elsewhere.example.org"),
        made(exp=now),
        made(client_id="nobody"),
        token[:-4] + "AAAA",
        "not.a.token",
    ):
        with pytest.raises(NotAuthenticated):
            verified(service, forged)
    with pytest.raises(NotAllowed):
        verified(service, made(scope="system/ValueSet.rs"))


@pytest.mark.parametrize("base", ["", "/dtr/2.0.1", "/dtr/2.2", "/pas/2.0.1", "/pas/2.2"])
def test_SM52_each_base_says_where_tokens_are(service: Service, base: str) -> None:
    with Client(service.application).get(f"{base}/.well-known/smart-configuration") as response:
        found = response.get_json()
    assert found["token_endpoint"] == URL
    assert found["grant_types_supported"] == ["client_credentials"]
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert "client-confidential-asymmetric" in found["capabilities"]
    assert {"system/Questionnaire.rs", "system/ValueSet.rs", "system/Library.rs"} <= set(found["scopes_supported"])
