"""Open launches: who may use one, how long it lasts, and its access token (SM-24, SM-25, SM-42, SM-43, SM-45)."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from smart_app.adapters.ehr_client import EhrClient
from smart_app.adapters.outbound import Outbound
from smart_app.adapters.store import AppStore, LaunchRow, digest
from smart_app.errors import Relaunch, Trouble
from smart_app.registry import EhrProfile, Registry
from smart_app.sessions import Launch
from smart_app.smart.discovery import Discovery
from smart_app.smart.tokens import RefreshFailed, TokenEndpoint, Tokens

REFRESH_SECONDS = 30  # within which whoever takes a refresh token has its answer
_POLL_SECONDS = 0.05
_SEEN_EVERY = timedelta(seconds=20)  # how exactly the idle time is kept
_SWEEP = 50

_LOG = logging.getLogger(__name__)


class OpenLaunches(msgspec.Struct, frozen=True):
    """Every open launch of this app, whichever process opened it."""

    store: AppStore
    registry: Registry
    discovery: Discovery
    endpoint: TokenEndpoint
    outbound: Outbound
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    idle: timedelta
    longest: timedelta

    def open(self, launch: Launch, tokens: Tokens, secret: str, subject: str) -> None:
        """Keep a new launch, which ``secret`` opens."""
        at = self.now()
        row = LaunchRow(
            id=launch.id,
            secret_hash=digest(secret),
            ehr=launch.ehr,
            opened=at,
            seen=at,
            ended=None,
            end_reason="",
            context=msgspec.json.encode(launch),
            tokens=msgspec.json.encode(tokens),
            token_version=1,
            refresh_until=None,
        )
        self.store.open_launch(row, about=(launch.ehr, launch.patient, subject))

    def find(self, launch_id: str, secret: str) -> Launch:
        """The launch that this browser has open, and note that it is used.

        Raises:
            Trouble: ``session_ended``: there is none, it is another browser's, or it has ended.
        """
        row = self.store.launch(launch_id)
        if row is None or not hmac.compare_digest(row.secret_hash, digest(secret)):
            raise Trouble("session_ended", "unknown_session")
        if row.ended is not None:
            raise Trouble("session_ended", f"ended_by_{row.end_reason}")
        at = self.now()
        if at - row.seen > self.idle or at - row.opened > self.longest:
            self.end(launch_id, "idle")
            raise Trouble("session_ended", "idle")
        if at - row.seen > _SEEN_EVERY:
            self.store.saw_launch(launch_id, at)
        return msgspec.json.decode(row.context, type=Launch)

    def ehr_of(self, launch_id: str) -> EhrProfile | None:
        """The EHR of a launch, open or not."""
        row = self.store.launch(launch_id)
        return None if row is None else self.registry.ehrs.get(row.ehr)

    def client(self, launch: Launch) -> EhrClient:
        """The EHR's API as the user of this launch."""

        def token(refused: str) -> str:
            return self.access_token(launch.id, refused)

        return EhrClient(self.outbound, self.registry.ehrs[launch.ehr], token)

    def end(self, launch_id: str, reason: str) -> None:
        """Drop the tokens here, then ask the EHR to forget them too (SM-45). Kept forms stay."""
        row = self.store.launch(launch_id)
        if row is None or not self.store.end_launch(launch_id, reason, self.now()) or row.tokens is None:
            return
        ehr = self.registry.ehrs.get(row.ehr)
        if ehr is not None:
            self._revoke(ehr, msgspec.json.decode(row.tokens, type=Tokens))

    def _revoke(self, ehr: EhrProfile, tokens: Tokens) -> None:
        try:
            found = self.discovery.of(ehr)
        except Trouble:
            return
        for token in filter(None, (tokens.refresh, tokens.access)):
            if found.revocation_endpoint and not self.endpoint.revoke(ehr, found, token):
                _LOG.warning("a token could not be revoked", extra={"ehr": ehr.id})

    def ended(self, launch_ids: Iterable[str]) -> tuple[str, ...]:
        """Those of a browser's launches that are over, so that it need not go on sending their cookies."""
        return tuple(each for each in tuple(launch_ids)[:_SWEEP] if not self._lives(each))

    def _lives(self, launch_id: str) -> bool:
        row = self.store.launch(launch_id)
        return row is not None and row.ended is None and self.now() - row.seen <= self.idle

    def end_idle(self) -> int:
        """End launches that nobody uses any more; gives how many."""
        at = self.now()
        over = self.store.idle_launches(at - self.idle, at - self.longest, _SWEEP)
        for launch_id in over:
            self.end(launch_id, "idle")
        return len(over)

    def access_token(self, launch_id: str, refused: str = "") -> str:
        """A token that is not ``refused``, refreshed when 80 % of its life are over.

        Of all threads and processes exactly one uses a refresh token; the others wait for what it gets.

        Raises:
            Relaunch: there is no way to a new one.
            Trouble: ``ehr_away``: the EHR cannot give a new one at this moment.
        """
        row, tokens = self._tokens(launch_id)
        at = self.now()
        usable = tokens.access != refused and at < tokens.expires
        if usable and at < tokens.refresh_at:
            return tokens.access
        if tokens.refresh and row.refresh_until is None:
            until = at + timedelta(seconds=REFRESH_SECONDS)
            if self.store.take_refresh(launch_id, row.token_version, until):
                return self._refreshed(row, tokens, usable=usable)
        if usable:
            return tokens.access
        if not tokens.refresh:
            raise Relaunch("no_refresh_token")
        return self._awaited(launch_id, row.token_version, refused)

    def _tokens(self, launch_id: str) -> tuple[LaunchRow, Tokens]:
        row = self.store.launch(launch_id)
        if row is None or row.tokens is None:
            raise Relaunch("launch_ended")
        return row, msgspec.json.decode(row.tokens, type=Tokens)

    def _refreshed(self, row: LaunchRow, tokens: Tokens, *, usable: bool) -> str:
        ehr = self.registry.ehrs[row.ehr]
        try:
            response = self.endpoint.refresh(ehr, self.discovery.of(ehr), tokens.refresh)
        except (RefreshFailed, Trouble) as failure:
            spent = isinstance(failure, RefreshFailed) and failure.spent
            self._keep_after_failure(row, tokens, ehr, spent=spent)
            _LOG.warning("a token could not be refreshed", extra={"ehr": ehr.id, "reason": failure.reason})
            if usable:
                return tokens.access
            raise Relaunch(f"refresh_{failure.reason}") if spent else Trouble("ehr_away", failure.reason) from None
        if not self.store.replace_tokens(row.id, row.token_version, msgspec.json.encode(response.tokens)):
            raise Relaunch("launch_ended")
        return response.tokens.access

    def _keep_after_failure(self, row: LaunchRow, tokens: Tokens, ehr: EhrProfile, *, spent: bool) -> None:
        """A refresh token that may have been used is never used again; one that was not stays (SM-08, SM-43)."""
        self.discovery.forget(ehr)
        left = msgspec.structs.replace(tokens, refresh="") if spent else tokens
        self.store.replace_tokens(row.id, row.token_version, msgspec.json.encode(left))

    def _awaited(self, launch_id: str, version: int, refused: str) -> str:
        while True:
            row, tokens = self._tokens(launch_id)
            if row.token_version != version:
                if tokens.access == refused or self.now() >= tokens.expires:
                    raise Relaunch("refresh_failed_elsewhere")
                return tokens.access
            if row.refresh_until is None or self.now() > row.refresh_until:
                raise Relaunch("refresh_lost")  # whoever took it is gone, and it may have been used
            self.sleep(_POLL_SECONDS)
