"""Public keys of registered clients, fetched from their JWKS addresses and remembered for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import requests
from joserfc.jwk import ECKey, RSAKey

from sandbox_ehr.fhir_json import loads

KEEP = timedelta(minutes=5)
ASK_AGAIN = timedelta(seconds=1)  # an unknown key id is looked for again, but not more often than this
LARGEST_SET = 100_000  # bytes
TIMEOUT = (2.0, 3.0)
SMALLEST_MODULUS = 342  # base64url characters of 2048 bits
Key = ECKey | RSAKey


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A confidential client that signs its assertions (``private_key_jwt``)."""

    client_id: str
    jwks_url: str = ""
    jwks: dict[str, Any] | None = None  # instead of jwks_url
    algorithms: tuple[str, ...] = ("ES384", "RS384")


class ClientKeys:
    """Key sets by address. Thread-safe; an address that does not answer has no keys."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._sets: dict[str, tuple[datetime, list[dict[str, Any]]]] = {}
        self._lock = threading.Lock()

    def find(self, client: Client, kid: str, algorithm: str) -> Key | None:
        """The one key of this id that can verify ``algorithm``; None where there is none, or more than one."""
        if client.jwks is not None:
            return _pick(_entries(client.jwks), kid, algorithm)
        found = self._remembered(client.jwks_url, KEEP)
        if not any(entry.get("kid") == kid for entry in found):
            found = self._remembered(client.jwks_url, ASK_AGAIN)
        return _pick(found, kid, algorithm)

    def _remembered(self, url: str, at_most: timedelta) -> list[dict[str, Any]]:
        with self._lock:
            fetched, entries = self._sets.get(url, (None, []))
            if fetched is None or self._now() - fetched >= at_most:
                entries = _fetch(url)
                self._sets[url] = (self._now(), entries)
            return entries


def _fetch(url: str) -> list[dict[str, Any]]:
    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as answer:
                body = answer.raw.read(LARGEST_SET + 1, decode_content=True)
        parsed = loads(body) if answer.status_code == 200 and len(body) <= LARGEST_SET else {}
    except (requests.RequestException, OSError, ValueError):
        return []
    return _entries(parsed)


def _entries(document: Any) -> list[dict[str, Any]]:
    entries = document.get("keys") if isinstance(document, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _pick(entries: list[dict[str, Any]], kid: str, algorithm: str) -> Key | None:
    fitting = [
        entry
        for entry in entries
        if entry.get("kid") == kid
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", algorithm) == algorithm
        and entry.get("kty") == ("RSA" if algorithm.startswith("RS") else "EC")
    ]
    if len(fitting) != 1:
        return None
    try:
        return _imported(fitting[0])
    except (ValueError, KeyError, TypeError):
        return None


def _imported(entry: dict[str, Any]) -> Key | None:
    plain = {name: value for name, value in entry.items() if name not in {"use", "key_ops", "alg"}}
    if entry["kty"] == "RSA":
        return RSAKey.import_key(plain) if len(str(entry["n"])) >= SMALLEST_MODULUS else None
    return ECKey.import_key(plain) if entry.get("crv") == "P-384" else None
