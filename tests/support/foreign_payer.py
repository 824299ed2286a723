"""A payer that is not ours: DTR over real sockets, with its own forms, its own version, and faults on demand.

    with ForeignPayer(app_keys=lambda: {...}) as payer:
        payer.packages = [package(form)]
        payer.fault = 503

It knows nothing of the product's code. It lets in only who presents a good client assertion and then its token.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from joserfc import jwk, jws, jwt
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

logging.getLogger("werkzeug").setLevel(logging.ERROR)

CLIENT = "app-at-payer"


@dataclass
class ForeignPayer:
    """See the module. Every attribute may be changed while it runs."""

    app_keys: Callable[[], dict[str, Any]]
    packages: list[dict[str, Any]] = field(default_factory=list)  # Bundles
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    shape: str = "PackageBundle"  # or packagebundle, return, bundle
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of $questionnaire-package
    errors: list[dict[str, Any]] = field(default_factory=list)  # bodies of $log-questionnaire-errors
    next_calls: list[dict[str, Any]] = field(default_factory=list)
    expansions: list[Mapping[str, str]] = field(default_factory=list)
    next_answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    by_call: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None  # packages by request body
    contexts: set[str] | None = None  # those that it knows; None: any
    claims: Callable[[str, dict[str, Any]], Any] | None = None  # body by operation and request: $submit, $inquire
    codes: list[tuple[str, str]] = field(default_factory=list)  # code and display, for $expand
    contains: list[dict[str, Any]] = field(default_factory=list)  # of every expansion, instead of ``codes``
    fault: int = 0
    fault_body: dict[str, Any] | None = None
    token_fault: int = 0
    tokens: set[str] = field(default_factory=set)
    token_calls: int = 0
    path: str = "/r4/dtr"
    token_endpoint: str = ""  # as discovery says it, instead of our own
    faulted: int = 0  # how many calls got the fault
    last_text: bytes = b""  # of the last body

    def __post_init__(self) -> None:
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.base = f"{self.url}{self.path}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def profile(self, **changes: Any) -> dict[str, Any]:
        """The payer's file in the app's registry."""
        return {
            "id": "foreign",
            "names": ["Foreign Mutual"],
            "identifiers": ["urn:example:payers|FM-1"],
            "dtr_base": self.base,
            "client_id": CLIENT,
            "allow_private": True,
            "allow_http": True,
            "call_seconds": 5,
        } | changes

    def _app(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        return self._answer(request)(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.path == f"{self.path}/.well-known/smart-configuration":
            return _json({"token_endpoint": self.token_endpoint or f"{self.url}/auth/token"})
        if request.path == "/auth/token":
            return self._token(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _json({"resourceType": "OperationOutcome", "issue": []}, 401)
        self.last_text = request.get_data()
        if self.fault:
            self.faulted += 1
            return _json(self.fault_body or {"resourceType": "OperationOutcome", "issue": []}, self.fault)
        operation = request.path.removeprefix(f"{self.path}/")
        if operation == "ValueSet/$expand":
            return self._expand(dict(request.args))
        body = json.loads(request.get_data())
        if operation.startswith("Claim/$") and self.claims is not None:
            return _json(self.claims(operation.partition("$")[2], body))
        if operation == "Questionnaire/$questionnaire-package":
            return self._package(body)
        if operation == "Questionnaire/$log-questionnaire-errors":
            self.errors.append(body)
            return Response(status=204)
        if operation == "Questionnaire/$next-question" and self.next_answer is not None:
            self.next_calls.append(body)
            response = next(p["resource"] for p in body["parameter"] if p["name"] == "questionnaire-response")
            return _json(self.next_answer(response))
        return _json({"resourceType": "OperationOutcome", "issue": []}, 404)

    def _token(self, request: Request) -> Response:
        self.token_calls += 1
        if self.token_fault:
            return _json({"error": "invalid_client"}, self.token_fault)
        form = dict(parse_qsl(request.get_data().decode()))
        registry = jws.JWSRegistry(algorithms=["RS384", "ES384"])
        keys = jwk.KeySet.import_key_set(self.app_keys())
        claims = jwt.decode(form["client_assertion"], keys, registry=registry).claims
        fine = claims["iss"] == claims["sub"] == CLIENT and claims["aud"] == f"{self.url}/auth/token"
        if not fine or form["grant_type"] != "client_credentials":
            return _json({"error": "invalid_client"}, 401)
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        return _json({"access_token": token, "token_type": "bearer", "expires_in": 300, "scope": form["scope"]})

    def _package(self, body: dict[str, Any]) -> Response:
        self.asked.append(body)
        named = {each["valueString"] for each in body["parameter"] if each["name"] == "context"}
        if self.contexts is not None and not named <= self.contexts:
            issue = {"severity": "error", "code": "value", "details": {"text": "this context is not known here"}}
            return _json({"resourceType": "OperationOutcome", "issue": [issue]}, 400)
        found = self.by_call(body) if self.by_call is not None else self.packages
        if self.shape == "bundle":
            return _json(found[0])
        parts = [{"name": self.shape, "resource": each} for each in found]
        parts += [{"name": "outcome", "resource": each} for each in self.outcomes]
        return _json({"resourceType": "Parameters", "parameter": parts})

    def _expand(self, query: Mapping[str, str]) -> Response:
        self.expansions.append(query)
        wanted = query.get("filter", "").casefold()
        found = [
            {"system": "urn:example:codes", "code": code, "display": text}
            for code, text in self.codes
            if wanted in text.casefold()
        ]
        expansion = {"contains": self.contains or found[: int(query.get("count", "20"))]}
        return _json({"resourceType": "ValueSet", "url": query["url"], "expansion": expansion})


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, mimetype="application/fhir+json")


def questionnaire(*items: dict[str, Any], name: str = "foreign-form", **members: Any) -> dict[str, Any]:
    """A foreign questionnaire."""
    return {
        "resourceType": "Questionnaire",
        "id": name,
        "url": f"https://payer.example.net/Questionnaire/{name}",
        "version": "3",
        "title": "Foreign form",
        "status": "active",
        "subjectType": ["Patient"],
        "item": list(items),
    } | members


def package(form: dict[str, Any], *others: dict[str, Any], draft: dict[str, Any] | None = None) -> dict[str, Any]:
    """A package Bundle: the questionnaire first."""
    held = [form, *([draft] if draft else []), *others]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in held]}


def outcome(text: str, severity: str = "information") -> dict[str, Any]:
    """An OperationOutcome with one text."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": "informational", "details": {"text": text}}],
    }
