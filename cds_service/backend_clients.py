"""What the operator has settled with one system that calls DTR and PAS (one file each, SMART Backend Services)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

_SCOPE = re.compile(r"system/([A-Za-z]+|\*)\.([a-z*]+)(\?.*)?")
_LETTERS = "cruds"
_FIRST_VERSION = {"read": "rs", "write": "cud", "*": "cruds"}  # SMART 1: words instead of letters


class BackendClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered system. ``adapters/backend_client_files.py`` reads it; nothing here is taken from a token."""

    id: str  # its OAuth client_id: ``iss`` and ``sub`` of its assertions
    name: str
    enabled: bool = True
    jwks_url: str | None = None  # exact ``jku``; fetched by us, never because a token says so
    jwks: dict[str, Any] | None = None  # keys settled out of band, instead of jwks_url
    algorithms: tuple[str, ...] = ("RS384", "ES384")
    scopes: tuple[str, ...] = ()  # the most that it is granted
    organizations: tuple[str, ...] = ()  # identifiers "system|value" that it may speak for
    allow_private: bool = False
    allow_http: bool = False
    ca_file: str | None = None

    @property
    def issuer(self) -> str:
        """Backend Services: issuer and subject of an assertion are the client's id."""
        return self.id


class BackendCaller(msgspec.Struct, frozen=True):
    """Who calls, as a token of ours says: the registered client, and what it was granted."""

    client: BackendClient
    scopes: tuple[str, ...]


class Scope(msgspec.Struct, frozen=True):
    """One system scope. ``kind`` is a resource type in small letters, or ``*``; ``letters`` are some of c r u d s."""

    kind: str
    letters: frozenset[str]
    text: str


def read_scope(text: str) -> Scope | None:
    """A scope that can be granted here, or None: another context, no SMART syntax, or with a query.

    Type names are taken in any case: the guide prints them in small letters (SM-50).
    """
    found = _SCOPE.fullmatch(text)
    if found is None or found[3]:
        return None
    letters = _FIRST_VERSION.get(found[2], found[2])
    if not letters or "".join(letter for letter in _LETTERS if letter in letters) != letters:
        return None  # the letters stand in one order only
    return Scope(found[1].lower(), frozenset(letters), text)


def granted(asked: Iterable[str], allowed: Iterable[str]) -> tuple[str, ...]:
    """What a client gets of the scopes that it asks for: each as asked, or as narrow as it is registered."""
    registered = [scope for scope in map(read_scope, allowed) if scope]
    found: dict[str, None] = {}
    for wanted in map(read_scope, asked):
        for held in registered:
            shared = _shared(wanted, held) if wanted else None
            if shared is not None:
                found[shared] = None
    return tuple(found)


def covers(scopes: Iterable[str], kind: str, letters: str) -> bool:
    """Whether scopes allow these interactions (some of ``cruds``) with a type of resource."""
    allowed: set[str] = set()
    for scope in map(read_scope, scopes):
        if scope is not None and scope.kind in {"*", kind.lower()}:
            allowed |= scope.letters
    return allowed >= set(letters)


def _shared(asked: Scope, held: Scope) -> str | None:
    if "*" not in {asked.kind, held.kind} and asked.kind != held.kind:
        return None
    letters = asked.letters & held.letters
    if not letters:
        return None
    if letters == asked.letters and held.kind in {"*", asked.kind}:
        return asked.text
    named = held if asked.kind == "*" else asked
    kind = named.text.removeprefix("system/").partition(".")[0]
    return f"system/{kind}.{''.join(letter for letter in _LETTERS if letter in letters)}"
