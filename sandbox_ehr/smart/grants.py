"""Tokens out of codes and refresh tokens: single use, bound to the client, revoked as a family when reused."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from werkzeug.datastructures import MultiDict

from sandbox_ehr.scopes import within
from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.authorization import CODE, IssuedCode
from sandbox_ehr.smart.identity import IdTokens
from sandbox_ehr.smart.memory import Grant, OAuthMemory
from sandbox_ehr.smart.refusals import Refusal
from sandbox_ehr.tokens import LIFETIME_SECONDS, Tokens

REFRESH = "refresh"
ONLINE_SECONDS = 8 * 3600  # a working day at the keyboard
OFFLINE_SECONDS = 30 * 86_400
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


class RefreshToken(msgspec.Struct, frozen=True):
    """What a refresh token stands for."""

    grant: str
    client_id: str


class Grants(msgspec.Struct, frozen=True):
    """The token endpoint's work, after the client has proven who it is."""

    memory: OAuthMemory
    tokens: Tokens
    identity: IdTokens
    now: Callable[[], datetime]

    def by_code(self, app: App, form: MultiDict[str, str]) -> dict[str, Any]:
        """Answer an authorization code. Raises Refusal."""
        code, verifier = _needed(form, "code"), _needed(form, "code_verifier")
        redirect_uri, now = _needed(form, "redirect_uri"), self.now().timestamp()
        held = self.memory.peek(CODE, code, now)
        issued = msgspec.json.decode(held.body, type=IssuedCode) if held else None
        if issued is None or issued.grant.client_id != app.client_id:
            raise Refusal("invalid_grant", "The code is not one of this client.")
        used = self.memory.use(CODE, code, now)
        if used is None or not used.fresh:
            self.memory.revoke(issued.grant.id)  # somebody may hold what the first use gave
            raise Refusal("invalid_grant", "The code was used before, or is older than a minute.")
        if issued.redirect_uri != redirect_uri:
            raise Refusal("invalid_grant", "redirect_uri is not the one of the authorization request.")
        if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(_challenge(verifier), issued.challenge):
            raise Refusal("invalid_grant", "code_verifier does not fit the code_challenge.")
        self.memory.keep_grant(issued.grant, now + OFFLINE_SECONDS)
        answer = self._answer(issued.grant, issued.grant.scopes)
        if "openid" in issued.grant.scopes.split():
            answer["id_token"] = self.identity.issue(app, issued.grant)
        return answer

    def by_refresh(self, app: App, form: MultiDict[str, str]) -> dict[str, Any]:
        """Answer a refresh token with new tokens; a token that comes twice ends the whole grant. Raises Refusal."""
        token, now = _needed(form, "refresh_token"), self.now().timestamp()
        held = self.memory.peek(REFRESH, token, now)
        known = msgspec.json.decode(held.body, type=RefreshToken) if held else None
        grant = self.memory.grant(known.grant, now) if known else None
        if known is None or grant is None or known.client_id != app.client_id:
            raise Refusal("invalid_grant", "The refresh token is not one of this client, or no longer.")
        scopes = form.get("scope") or grant.scopes
        if not within(scopes, grant.scopes):
            raise Refusal("invalid_scope", "A refresh asks for no more than was granted.")
        used = self.memory.use(REFRESH, token, now)
        if used is None or not used.fresh:
            self.memory.revoke(grant.id)
            raise Refusal("invalid_grant", "The refresh token was used before; its grant has ended.")
        return self._answer(grant, scopes)

    def revoke(self, app: App, token: str) -> None:
        """End the grant that a refresh or access token of this app belongs to; an unknown token is no error."""
        ident = self._grant_of(app, token)
        if ident:
            self.memory.revoke(ident)

    def introspect(self, app: App, token: str) -> dict[str, Any]:
        """RFC 7662, for an app's own access tokens."""
        claims = self.tokens.read(token)
        if claims is None or claims.get("client_id") != app.client_id:
            return {"active": False}
        shown = ("iss", "aud", "sub", "client_id", "iat", "exp", "scope", "patient", "fhirUser")
        return {"active": True, "token_type": "Bearer", **{name: claims[name] for name in shown if name in claims}}

    def _grant_of(self, app: App, token: str) -> str:
        held = self.memory.peek(REFRESH, token, self.now().timestamp())
        if held:
            known = msgspec.json.decode(held.body, type=RefreshToken)
            return known.grant if known.client_id == app.client_id else ""
        claims = self.tokens.read(token) or {}
        return str(claims.get("grant", "")) if claims.get("client_id") == app.client_id else ""

    def _answer(self, grant: Grant, scopes: str) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "access_token": self.tokens.lend(grant, scopes),
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "scope": scopes,
            **_context(grant),
        }
        held = set(scopes.split())
        if held & {"offline_access", "online_access"}:
            token = secrets.token_urlsafe(32)
            body = msgspec.json.encode(RefreshToken(grant.id, grant.client_id)).decode()
            seconds = OFFLINE_SECONDS if "offline_access" in held else ONLINE_SECONDS
            self.memory.put(REFRESH, token, body, now=self.now().timestamp(), seconds=seconds)
            answer["refresh_token"] = token
        return answer


def _context(grant: Grant) -> dict[str, Any]:
    context: dict[str, Any] = {}
    if grant.patient:
        context |= {"patient": grant.patient, "need_patient_banner": grant.banner}
    if grant.encounter:
        context["encounter"] = grant.encounter
    if grant.fhir_context:
        context["fhirContext"] = list(grant.fhir_context)
    if grant.app_context is not None:
        context["appContext"] = grant.app_context
    return context


def _challenge(verifier: str) -> str:
    return str(create_s256_code_challenge(verifier))


def _needed(form: MultiDict[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise Refusal("invalid_request", f"Missing: {name}.")
    return value
