"""A small OpenID Connect provider over real TLS: it checks code, PKCE and client, and may misbehave."""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from cds_service.adapters.oidc import challenge_of
from tests.support.hook_tokens import ec, public, rsa, sign

CLIENT, SECRET = "review-desk", "a secret: with % and ü"


class IdentityProvider:
    """One provider. ``token``, ``discovery`` and ``keys`` may be replaced by a test."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.behave()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.issuer = f"https://localhost:{self._server.server_address[1]}"

    def behave(self) -> None:
        """As it should, from now on, with nothing remembered."""
        self.token: Callable[[dict[str, Any]], str] = self.signed
        self.discovery: Callable[[], dict[str, Any]] = self.usual_discovery
        self.keys = {"keys": [public(rsa("idp"), "k1"), public(ec("idp"), "k2")]}
        self.person: dict[str, Any] = {"sub": "u-1", "name": "Ada Quill", "roles": ["physician"], "npi": "1999999919"}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.now = int(time.time())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def usual_discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def authorize(self, url: str) -> dict[str, str]:
        """The person agrees: what the browser brings back to us."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def claims(self, asked: dict[str, str], **changes: Any) -> dict[str, Any]:
        usual = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": self.now,
            "exp": self.now + 300,
            "nonce": asked.get("nonce"),
            **self.person,
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not ...}

    def signed(self, asked: dict[str, str], **changes: Any) -> str:
        return sign(rsa("idp"), self.claims(asked, **changes), {"alg": "RS256", "kid": "k1", "typ": "JWT"})

    def _exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)
        pair = b64decode(authorization.removeprefix("Basic ")).decode() if authorization else ""
        if asked is None or challenge_of(form.get("code_verifier", "")) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        if (
            form.get("redirect_uri") != asked["redirect_uri"]
            or pair != "review-desk:a%20secret%3A%20with%20%25%20and%20%C3%BC"
        ):
            return 400, {"error": "invalid_client"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.token(asked)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    self._say(200, provider.discovery())
                elif self.path == "/jwks":
                    self._say(200, provider.keys)
                else:
                    self._say(404, {})

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._say(*provider._exchange(form, self.headers.get("Authorization", "")))

            def _say(self, status: int, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        return Handler
