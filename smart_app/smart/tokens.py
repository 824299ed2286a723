"""The EHR's token endpoint: code for tokens, refresh, revocation (SM-20, SM-21, SM-24, SM-31, SM-34, SM-43, SM-45)."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import msgspec

from smart_app.adapters.keys import SigningKeys
from smart_app.adapters.outbound import Answer, Outbound, OutboundFailure, egress_to_ehr, json_object
from smart_app.errors import Trouble
from smart_app.registry import EhrProfile
from smart_app.smart.assertion import assertion_fields, client_assertion, read_secret
from smart_app.smart.discovery import SmartConfiguration

CALL_SECONDS = 10
ASSUMED_LIFE = 300  # where expires_in is absent (SM-24)
LONGEST_LIFE = 86_400
NOT_SENT = frozenset({"not_allowed", "address_refused", "name_not_resolved", "connect_failed", "tls_failed"})
_SAFE_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "temporarily_unavailable",
        "server_error",
    }
)

_LOG = logging.getLogger(__name__)


class Tokens(msgspec.Struct, frozen=True):
    """What the server keeps to speak for the user; never leaves it."""

    access: str
    refresh: str  # "": none was given
    refresh_at: datetime  # 80 % of the access token's life
    expires: datetime


class TokenResponse(msgspec.Struct, frozen=True):
    """A token response, checked. ``members`` are all of its members, for the launch context."""

    tokens: Tokens
    scopes: tuple[str, ...]
    id_token: str
    members: Mapping[str, Any]


class RefreshFailed(Exception):
    """No new token. ``spent`` tells whether the refresh token may have been used up by the attempt."""

    def __init__(self, reason: str, *, spent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.spent = spent


class TokenEndpoint(msgspec.Struct, frozen=True):
    """Speaks to the token and revocation endpoints of every registered EHR as the app."""

    outbound: Outbound
    keys: SigningKeys
    jwks_url: str
    now: Callable[[], datetime]
    new_secret: Callable[[], str]

    def exchange(
        self, ehr: EhrProfile, found: SmartConfiguration, *, code: str, verifier: str, redirect_uri: str
    ) -> TokenResponse:
        """Tokens for an authorization code.

        Raises:
            Trouble: ``ehr_away``, ``registration``, ``code_refused``, ``token_unusable``.
        """
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        try:
            answer = self._post(ehr, found, found.token_endpoint, fields)
        except OutboundFailure as failure:
            raise Trouble("ehr_away", f"token_{failure.reason}") from None
        if answer.status != 200:
            raise _refusal(ehr, answer)
        return read_response(answer.body, self.now())

    def refresh(self, ehr: EhrProfile, found: SmartConfiguration, refresh_token: str) -> TokenResponse:
        """Tokens for a refresh token; its scope is never widened, because none is sent.

        Raises:
            RefreshFailed: with a reason word.
        """
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        try:
            answer = self._post(ehr, found, found.token_endpoint, fields)
        except OutboundFailure as failure:
            raise RefreshFailed(failure.reason, spent=failure.reason not in NOT_SENT) from None
        if answer.status != 200:
            busy = answer.status >= 500 or answer.status == 429  # it says itself that it did nothing
            raise RefreshFailed(error_word(answer.body), spent=not busy)
        try:
            return read_response(answer.body, self.now(), earlier_refresh=refresh_token)
        except Trouble as trouble:
            raise RefreshFailed(trouble.reason, spent=True) from None

    def revoke(self, ehr: EhrProfile, found: SmartConfiguration, token: str) -> bool:
        """Ask the EHR to forget a token (RFC 7009); False where it could not be asked or has no such endpoint."""
        if not found.revocation_endpoint:
            return False
        try:
            return self._post(ehr, found, found.revocation_endpoint, {"token": token}).status == 200
        except OutboundFailure:
            return False

    def _post(self, ehr: EhrProfile, found: SmartConfiguration, url: str, fields: Mapping[str, str]) -> Answer:
        """One form, with a proof of its own of who we are (SM-31: a fresh ``jti`` each time)."""
        egress = egress_to_ehr(ehr, *found.endpoints)
        if ehr.client_secret_file is not None:
            secret = quote_plus(read_secret(ehr.client_secret_file))
            basic = base64.b64encode(f"{quote_plus(ehr.client_id)}:{secret}".encode()).decode()
            return self.outbound.form(url, egress, CALL_SECONDS, fields, Authorization=f"Basic {basic}")
        assertion = client_assertion(
            self.keys,
            client_id=ehr.client_id,
            audience=found.token_endpoint,
            algorithm=found.algorithm(ehr),
            now=self.now(),
            new_secret=self.new_secret,
            jwks_url=self.jwks_url,
        )
        return self.outbound.form(url, egress, CALL_SECONDS, {**fields, **assertion_fields(assertion)})


def read_response(body: bytes, now: datetime, *, earlier_refresh: str = "") -> TokenResponse:
    """A token response (SM-21). Raises Trouble ``token_unusable``, naming what is missing."""
    members = json_object(body)
    if members is None:
        raise _unusable("not_json", "It is not JSON.")
    access = members.get("access_token")
    if not isinstance(access, str) or not access.isascii() or not access.isprintable() or not access.strip():
        raise _unusable("no_access_token", "It has no access_token.")
    if str(members.get("token_type", "")).lower() != "bearer":
        raise _unusable("not_bearer", "Its token_type is not Bearer.")
    scope = members.get("scope")
    if not isinstance(scope, str) and not earlier_refresh:  # at a refresh it may be left out when nothing changed
        raise _unusable("no_scope", "It has no scope.")
    life = _life(members.get("expires_in"))
    refresh, id_token = members.get("refresh_token"), members.get("id_token")
    tokens = Tokens(
        access=access,
        refresh=refresh if isinstance(refresh, str) and refresh else earlier_refresh,
        refresh_at=now + timedelta(seconds=life) * 4 / 5,
        expires=now + timedelta(seconds=life),
    )
    scopes = tuple(scope.split()) if isinstance(scope, str) else ()
    return TokenResponse(tokens, scopes, id_token if isinstance(id_token, str) else "", members)


def _life(value: object) -> int:
    """Seconds; some servers write the number as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        return ASSUMED_LIFE
    return int(min(value, LONGEST_LIFE))


def error_word(body: bytes) -> str:
    """The ``error`` of an OAuth answer, if it is one of the known words."""
    given = (json_object(body) or {}).get("error")
    return given if isinstance(given, str) and given in _SAFE_ERRORS else "other_error"


def _refusal(ehr: EhrProfile, answer: Answer) -> Trouble:
    word = error_word(answer.body)
    reason = f"token_http_{answer.status}_{word}"
    if word in {"invalid_client", "unauthorized_client"}:
        # SM-34: to the operator it is the registration, whoever the user is.
        _LOG.error("registration problem at an EHR: it does not accept the app's proof", extra={"ehr": ehr.id})
        return Trouble("registration", reason)
    if answer.status >= 500 or answer.status == 429:
        return Trouble("ehr_away", reason)
    return Trouble("code_refused", reason)


def _unusable(reason: str, said: str) -> Trouble:
    return Trouble("token_unusable", f"token_{reason}", details=(said,))
