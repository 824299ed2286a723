"""A SMART app of the tests' own: speaks to an authorization server step by step, and can do each step wrongly."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPES = "launch openid fhirUser offline_access patient/*.rs patient/QuestionnaireResponse.cu"


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


class SmartClient:
    """One registered app with an EC and an RSA key; ``clock`` gives seconds, as the server's clock may be set."""

    def __init__(self, client_id: str, base: str, clock=time.time) -> None:
        self.client_id, self.base, self.clock = client_id, base, clock
        self.redirect_uri = f"https://{client_id}.example.org/callback"
        self.launch_url = f"https://{client_id}.example.org/launch"
        self.keys = {
            "ES384": ECKey.generate_key("P-384", {"kid": "ec"}, private=True),
            "RS384": RSAKey.generate_key(2048, {"kid": "rsa"}, private=True),
        }
        self.http = requests.Session()
        self.http.trust_env = False

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**key.as_dict(private=False), "alg": alg} for alg, key in self.keys.items()]}

    def assertion(self, *, alg: str = "ES384", key=None, header: dict | None = None, **claims: Any) -> str:
        """A good assertion with some claims or header members changed; None takes one away."""
        now = int(self.clock())
        good = {
            "iss": self.client_id, "sub": self.client_id, "aud": f"{self.base}/oauth/token", "exp": now + 240,
            "iat": now, "jti": secrets.token_urlsafe(16),
        }  # fmt: skip
        body = {name: value for name, value in {**good, **claims}.items() if value is not None}
        head = {"alg": alg, "typ": "JWT", "kid": self.keys[alg].kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, body, key or self.keys[alg], algorithms=[alg])

    def challenge(self) -> tuple[str, str]:
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def request(self, challenge: str, launch: str | None = None, **changes: Any) -> dict[str, Any]:
        """Parameters of a good authorization request with some changed; None takes one away."""
        good = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_uri,
            "scope": SCOPES if launch else SCOPES.replace("launch ", "launch/patient "), "state": "state-" + "x" * 30,
            "aud": f"{self.base}/fhir", "code_challenge": challenge, "code_challenge_method": "S256",
            "nonce": "nonce-1", "launch": launch,
        }  # fmt: skip
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def authorize(self, parameters: dict[str, Any]) -> requests.Response:
        return self.http.get(f"{self.base}/oauth/authorize", params=parameters, allow_redirects=False, timeout=10)

    def code(self, launch: str, **changes: Any) -> tuple[str, str]:
        """A fresh code of an EHR launch and its verifier."""
        verifier, challenge = self.challenge()
        answer = self.authorize(self.request(challenge, launch, **changes))
        assert answer.status_code == 302, answer.text
        return query_of(answer.headers["Location"])["code"], verifier

    def token(self, path: str = "token", *, assertion: str | None = None, **form: Any) -> requests.Response:
        """A POST to the token endpoint (or a sibling); a parameter that is None is left out."""
        good = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion or self.assertion()}
        body = {name: value for name, value in {**good, **form}.items() if value is not None}
        return self.http.post(f"{self.base}/oauth/{path}", data=body, allow_redirects=False, timeout=10)

    def exchange(self, code: str, verifier: str, /, **form: Any) -> requests.Response:
        good = {
            "grant_type": "authorization_code", "code": code, "code_verifier": verifier,
            "redirect_uri": self.redirect_uri,
        }  # fmt: skip
        return self.token(**{**good, **form})

    def tokens(self, launch: str, **changes: Any) -> dict[str, Any]:
        """The token response of a good EHR launch."""
        answer = self.exchange(*self.code(launch, **changes))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fhir(self, method: str, path: str, token: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        if "json" in options:
            headers.setdefault("Content-Type", "application/fhir+json")
        return self.http.request(method, f"{self.base}/fhir/{path}", headers=headers, timeout=10, **options)
