"""Signing in and out: at the payer's identity provider, or, in the demo, by choosing one of a few made-up people."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from cds_service.domain.prior_auth import AuditEntry
from cds_service.domain.review import ROLE_WORDS, Person
from cds_service.errors import CdsServiceError, NotAllowed, NotAuthenticated, NotFound
from cds_service.web.call_note import NOTE
from cds_service.web.review.guard import Guard
from cds_service.web.review.sessions import (
    SESSION_COOKIE,
    SIGN_IN_COOKIE,
    Clock,
    SessionKeeper,
    drop_cookie,
    form_token,
    give_cookie,
)

START: Final = "/review"
_OURS = re.compile(r"/review(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}){0,4}")


class Begun(Protocol):
    """A sign-in on its way."""

    @property
    def url(self) -> str:
        """Where the browser goes."""
        ...

    @property
    def kept(self) -> Mapping[str, str]:
        """What must be at hand when it comes back."""
        ...


class IdentityProvider(Protocol):
    """Where people sign in (``adapters.oidc``)."""

    def begin(self) -> Begun:
        """Start a sign-in."""
        ...

    def finish(self, answer: Mapping[str, str], kept: Mapping[str, str]) -> Person:
        """The person, or NotAuthenticated, NotAllowed or Unanswerable."""
        ...


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """How people get in. With neither provider nor demo people, nobody does."""

    keeper: SessionKeeper
    guard: Guard
    clock: Clock
    note: Callable[[AuditEntry], None]
    remember: Callable[[Person, datetime], None]
    render: Callable[..., Response]  # (template, **values)
    provider: IdentityProvider | None = None
    demo_people: Sequence[Person] = ()


def add_sign_in(routes: Blueprint, door: Door) -> None:
    """Add the routes to the blueprint of the workplace."""
    routes.add_url_rule("/sign-in", "sign_in", lambda: _page(door))
    routes.add_url_rule("/sign-in/start", "sign_in_start", lambda: _start(door))
    routes.add_url_rule("/sign-in/callback", "sign_in_callback", lambda: _callback(door))
    routes.add_url_rule("/sign-in/demo", "sign_in_demo", lambda: _demo(door), methods=["POST"])
    routes.add_url_rule("/sign-out", "sign_out", lambda: _sign_out(door), methods=["POST"])


def _page(door: Door) -> Response:
    request.environ[NOTE].route = "/review/sign-in"
    after = _next()
    if door.provider is not None:
        return door.render("sign_in", people=(), next=after)
    if not door.demo_people:
        raise NotFound("no sign-in is set up: CDS_OIDC_ISSUER is not set")
    secret = door.keeper.begin_sign_in({"next": after})
    token = form_token(secret)
    answer = door.render("sign_in", people=door.demo_people, token=token, words=ROLE_WORDS)
    give_cookie(answer, SIGN_IN_COOKIE, secret)
    return answer


def _start(door: Door) -> Response:
    request.environ[NOTE].route = "/review/sign-in/start"
    begun = _provider(door).begin()
    answer = redirect(begun.url, 303)
    give_cookie(answer, SIGN_IN_COOKIE, door.keeper.begin_sign_in({**begun.kept, "next": _next()}))
    return answer


def _callback(door: Door) -> Response:
    request.environ[NOTE].route = "/review/sign-in/callback"
    provider = _provider(door)
    kept = door.keeper.finish_sign_in(request.cookies.get(SIGN_IN_COOKIE, ""))
    if kept is None:
        raise _refused(door, NotAuthenticated("state"))
    try:
        person = provider.finish(request.args.to_dict(), kept)
    except (NotAuthenticated, NotAllowed) as error:
        raise _refused(door, error) from None
    return _let_in(door, person, kept["next"])


def _demo(door: Door) -> Response:
    request.environ[NOTE].route = "/review/sign-in/demo"
    secret = request.cookies.get(SIGN_IN_COOKIE, "")
    door.guard.check_form(secret)
    kept = door.keeper.finish_sign_in(secret)
    chosen = [person for person in door.demo_people if person.id == request.form.get("person")]
    if kept is None or not chosen:
        raise _refused(door, NotAuthenticated("state"))
    return _let_in(door, chosen[0], kept["next"])


def _sign_out(door: Door) -> Response:
    request.environ[NOTE].route = "/review/sign-out"
    secret = request.cookies.get(SESSION_COOKIE, "")
    session = door.keeper.find(secret)
    if session is not None:
        door.guard.check_form(secret)
        door.keeper.close(secret)
        door.note(_entry(door, session.person, "sign_out"))
    answer = door.render("signed_out")
    drop_cookie(answer, SESSION_COOKIE)
    return answer


def _provider(door: Door) -> IdentityProvider:
    if door.provider is None:
        raise NotFound("no identity provider is set up")
    return door.provider


def _let_in(door: Door, person: Person, after: str) -> Response:
    """A session under a new secret; the one that began the sign-in, and an older one, serve no more (row 104)."""
    secret = door.keeper.open(person, request.cookies.get(SESSION_COOKIE, ""))
    door.remember(person, door.clock.now())
    door.note(_entry(door, person, "sign_in"))
    answer = redirect(after, 303)
    give_cookie(answer, SESSION_COOKIE, secret)
    drop_cookie(answer, SIGN_IN_COOKIE)
    return answer


def _refused(door: Door, error: CdsServiceError) -> CdsServiceError:
    """Write down that somebody did not get in, and why in a word of a closed list."""
    reason = error.reason if isinstance(error, NotAuthenticated) else "no_role"
    door.note(AuditEntry(door.clock.now(), "unknown", "unknown", "sign_in_refused", "session", {"reason": reason}))
    return error


def _entry(door: Door, person: Person, action: str) -> AuditEntry:
    return AuditEntry(door.clock.now(), person.id, person.role.value, action, "session")


def _next() -> str:
    """Where to go after the sign-in: a page of the workplace, or its first."""
    after = request.args.get("next", START)
    return after if _OURS.fullmatch(after) else START
