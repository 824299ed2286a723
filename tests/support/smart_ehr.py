"""A small, strict EHR: SMART authorization server and FHIR API over real sockets, that can be told to misbehave.

    with SmartEhr(app_keys=lambda: {...}) as ehr:
        ehr.discovery["capabilities"].remove("launch-ehr")
        ehr.id_claims["aud"] = "somebody-else"

It refuses whatever a strict server refuses (verifier, redirect, audience, assertion, reuse), keeps every request, and
knows nothing of the app's code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from joserfc import jwk, jws, jwt
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

logging.getLogger("werkzeug").setLevel(logging.ERROR)

CLIENT = "coverage-app"
REDIRECT = "https://app.example.net/callback"
PATIENT = {
    "resourceType": "Patient",
    "id": "pat-1",
    "name": [{"use": "old", "text": "Former Name"}, {"use": "official", "family": "Canaryname", "given": ["Ada"]}],
    "birthDate": "1961-07-03",
    "identifier": [
        {"system": "urn:example:other", "value": "X-1"},
        {"type": {"coding": [{"code": "MR"}]}, "system": "urn:example:mrn", "value": "MRN-CANARY-77"},
    ],
}
PRACTITIONER = {
    "resourceType": "Practitioner",
    "id": "doc-1",
    "name": [{"text": "Dr. Sam Sample"}],
    "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
}


@cache
def rsa_key(kid: str) -> jwk.RSAKey:
    """One key per name: making them is slow."""
    return jwk.RSAKey.generate_key(2048, {"kid": kid, "alg": "RS256", "use": "sig"})


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Grant:
    """A code or refresh token, and what it is good for."""

    scope: str
    nonce: str = ""
    challenge: str = ""
    redirect_uri: str = ""
    launch: str | None = None


@dataclass
class SmartEhr:
    """See the module. Every attribute may be changed while it runs."""

    app_keys: Callable[[], dict[str, Any]]
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    redirect: str = REDIRECT
    seen: list[Seen] = field(default_factory=list)
    context: dict[str, Any] = field(default_factory=lambda: {"patient": "pat-1", "encounter": "enc-1"})
    discovery: dict[str, Any] = field(default_factory=dict)
    id_claims: dict[str, Any] = field(default_factory=dict)  # a value of ... takes one away
    id_header: dict[str, Any] = field(default_factory=dict)
    id_token: Callable[[str], str | None] = field(default=lambda token: token)
    callback: dict[str, Any] = field(default_factory=dict)  # changes of the callback's parameters
    token_response: dict[str, Any] = field(default_factory=dict)  # changes of the token response
    token_status: int = 200
    token_error: dict[str, Any] | None = None
    token_delay: float = 0.0
    granted: Callable[[str], str] = field(default=lambda scope: scope)
    life: int = 3600
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Callable[[Request], Response]] = field(default_factory=dict)  # "METHOD path" -> own answer
    refused_tokens: set[str] = field(default_factory=set)
    revoked: list[str] = field(default_factory=list)
    secret: str = ""  # of a symmetric client
    reused_refresh: int = 0

    def __post_init__(self) -> None:
        self.key = rsa_key("ehr-1")
        self.published = [self.key]
        self.codes: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, Grant] = {}
        self.used_refresh: set[str] = set()
        self.access: dict[str, Grant] = {}
        self.jtis: set[str] = set()
        self.lock = threading.Lock()
        self.resources = {f"{each['resourceType']}/{each['id']}": each for each in (PATIENT, PRACTITIONER)}
        self._server = make_server(self.host, 0, self._app, threaded=True, ssl_context=self.tls)
        self.move_to(self.host)

    def move_to(self, host: str) -> None:
        """Call itself by this name from now on."""
        self.url = f"{'https' if self.tls else 'http'}://{host}:{self._server.server_port}"
        self.iss = f"{self.url}/fhir"
        self.discovery = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth/authorize",
            "token_endpoint": f"{self.url}/auth/token",
            "revocation_endpoint": f"{self.url}/auth/revoke",
            "jwks_uri": f"{self.url}/auth/jwks",
            "capabilities": [
                "launch-ehr", "launch-standalone", "client-confidential-asymmetric", "sso-openid-connect",
                "permission-v2", "permission-patient", "context-ehr-patient", "context-standalone-patient",
            ],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "grant_types_supported": ["authorization_code"],
        }  # fmt: skip

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Gone: nobody listens any more. Once is enough."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def to(self, path: str) -> list[Seen]:
        """Requests to one path."""
        return [each for each in self.seen if each.path == path]

    @property
    def token_calls(self) -> list[Seen]:
        return self.to("/auth/token")

    # -- the server

    def _app(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        body = request.get_data()
        form = dict(parse_qsl(body.decode())) if request.mimetype == "application/x-www-form-urlencoded" else {}
        self.seen.append(Seen(request.method, request.path, dict(request.args), form, dict(request.headers), body))
        own = self.answers.get(f"{request.method} {request.path}")
        response = own(request) if own else self._answer(request, form, body)
        return response(environ, start_response)

    def _answer(self, request: Request, form: Mapping[str, str], body: bytes) -> Response:
        if request.path == "/fhir/.well-known/smart-configuration":
            return _json({name: value for name, value in self.discovery.items() if value is not ...})
        if request.path == "/auth/jwks":
            return _json({"keys": [key.as_dict(private=False) for key in self.published]})
        if request.path == "/auth/authorize":
            return self._authorize(dict(request.args))
        if request.path == "/auth/token":
            time.sleep(self.token_delay)
            return self._token(form, request.headers.get("Authorization", ""))
        if request.path == "/auth/revoke":
            self.revoked.append(form.get("token", ""))
            return _json({})
        if request.path.startswith("/fhir/"):
            return self._fhir(request, body)
        return Response(status=404)

    def _authorize(self, query: Mapping[str, str]) -> Response:
        wanted = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": self.redirect,
            "aud": self.iss,
            "code_challenge_method": "S256",
        }
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        wrong += [name for name in ("state", "code_challenge", "nonce", "scope") if not query.get(name)]
        if wrong:
            return _json({"error": "invalid_request", "wrong": wrong}, 400)
        code = secrets.token_urlsafe(24)
        scope = query["scope"]
        self.codes[code] = Grant(
            scope, query["nonce"], query["code_challenge"], query["redirect_uri"], query.get("launch")
        )
        values = {"code": code, "state": query["state"]} | self.callback
        location = f"{self.redirect}?{urlencode({k: v for k, v in values.items() if v is not ...})}"
        return Response(status=302, headers={"Location": location})

    def _token(self, form: Mapping[str, str], authorization: str) -> Response:
        if self.token_error is not None:
            return _json(self.token_error, self.token_status if self.token_status != 200 else 400)
        wrong = self._client_wrong(form, authorization)
        if wrong:
            return _json({"error": "invalid_client", "error_description": wrong}, 401)
        if form.get("grant_type") == "refresh_token":
            return self._refresh(form)
        with self.lock:
            grant = self.codes.pop(form.get("code", ""), None)
        if grant is None or form.get("grant_type") != "authorization_code":
            return _json({"error": "invalid_grant"}, 400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if challenge.rstrip(b"=").decode() != grant.challenge or form.get("redirect_uri") != grant.redirect_uri:
            return _json({"error": "invalid_grant"}, 400)
        return self._tokens(grant, first=True)

    def _refresh(self, form: Mapping[str, str]) -> Response:
        given = form.get("refresh_token", "")
        with self.lock:
            if given in self.used_refresh:
                self.reused_refresh += 1
                return _json({"error": "invalid_grant"}, 400)
            grant = self.refresh_tokens.pop(given, None)
            self.used_refresh.add(given)
        return self._tokens(grant, first=False) if grant else _json({"error": "invalid_grant"}, 400)

    def _client_wrong(self, form: Mapping[str, str], authorization: str) -> str:
        if self.secret:
            expected = base64.b64encode(f"{CLIENT}:{self.secret}".encode()).decode()
            return "" if authorization == f"Basic {expected}" else "secret"
        if authorization or "client_secret" in form:
            return "unexpected authentication"
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return "assertion type"
        registry = jws.JWSRegistry(algorithms=["RS384", "ES384"])
        try:
            keys = jwk.KeySet.import_key_set(self.app_keys())
            token = jwt.decode(form.get("client_assertion", ""), keys, registry=registry)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is refused
            return f"assertion {type(error).__name__}"
        claims, now = token.claims, time.time()
        with self.lock:
            fresh = claims.get("jti") not in self.jtis
            self.jtis.add(claims.get("jti"))
        checks = {
            "typ": token.header.get("typ") == "JWT",
            "iss": claims.get("iss") == claims.get("sub") == CLIENT,
            "aud": claims.get("aud") == f"{self.url}/auth/token",
            "exp": now - 3600 * 24 < claims.get("exp", 0) <= claims.get("iat", 0) + 300,
            "jti": bool(claims.get("jti")) and fresh,
        }
        return ", ".join(name for name, fine in checks.items() if not fine)

    def _tokens(self, grant: Grant, *, first: bool) -> Response:
        access, refresh = f"access-{secrets.token_urlsafe(16)}", f"refresh-{secrets.token_urlsafe(16)}"
        scope = self.granted(grant.scope)
        self.access[access] = grant
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.life,
            "scope": scope,
            **self.context,
        }
        if {"offline_access", "online_access"} & set(scope.split()):
            self.refresh_tokens[refresh] = grant
            answer["refresh_token"] = refresh
        if first and "openid" in scope.split():
            token = self.id_token(self._id_token(grant))
            if token is not None:
                answer["id_token"] = token
        answer |= self.token_response
        return _json({k: v for k, v in answer.items() if v is not ...}, self.token_status)

    def _id_token(self, grant: Grant) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "user-1",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 600,
            "nonce": grant.nonce,
            "fhirUser": f"{self.iss}/Practitioner/doc-1",
        } | self.id_claims
        header = {"alg": self.key.alg or "RS256", "kid": self.key.kid, "typ": "JWT"} | self.id_header
        registry = jws.JWSRegistry(algorithms=["RS256", "RS384", "ES256", "ES384", "PS256", "HS256", "none"])
        return jwt.encode(
            {k: v for k, v in header.items() if v is not ...},
            {k: v for k, v in claims.items() if v is not ...},
            self.key,
            registry=registry,
        )

    # -- FHIR

    def _fhir(self, request: Request, body: bytes) -> Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.access or token in self.refused_tokens:
            return _outcome(401, "login")
        path = request.path.removeprefix("/fhir/")
        if request.method == "GET" and path in self.resources:
            found = self.resources[path]
            version = found.get("meta", {}).get("versionId", "1")
            return _json(found, 200, {"ETag": f'W/"{version}"'})
        if request.method == "GET" and "/" in path:
            return _outcome(404, "not-found")
        if request.method == "GET":
            matches = [each for each in self.resources.values() if each["resourceType"] == path]
            return _json({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": e} for e in matches]})
        return self._write(request, path, json.loads(body))

    def _write(self, request: Request, path: str, resource: dict[str, Any]) -> Response:
        if request.method == "POST":
            resource = {**resource, "id": secrets.token_hex(6), "meta": {"versionId": "1"}}
            where = f"{path}/{resource['id']}"
            self.resources[where] = resource
            headers = {"Location": f"{self.iss}/{where}/_history/1", "ETag": 'W/"1"'}
            return _json(resource, 201, headers)
        version = self.resources[path]["meta"]["versionId"]
        if request.headers.get("If-Match") != f'W/"{version}"':
            return _outcome(412, "conflict")
        newer = str(int(version) + 1)
        self.resources[path] = {**resource, "meta": {**resource.get("meta", {}), "versionId": newer}}
        return _json(self.resources[path], 200, {"ETag": f'W/"{newer}"'})


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, dict(headers or {}), mimetype="application/json")


def _outcome(status: int, code: str, text: str = "refused by the EHR") -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)


def outcome(status: int, text: str) -> Callable[[Request], Response]:
    """An answer for ``SmartEhr.answers``."""
    return lambda _request: _outcome(status, "processing", text)


def plain(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Callable[[Request], Response]:
    """A JSON answer for ``SmartEhr.answers``."""
    return lambda _request: _json(value, status, headers)
