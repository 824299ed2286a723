"""The public keys of registered clients: fetched from the registered address only, kept, renewed, bounded.

Rows 12-16, 20 and 21 of the reliability spec. A key set is asked for at most once per client and minute, however many
unknown ``kid`` values arrive; while its host is down the keys already known stay in use, up to a bound.
"""

from __future__ import annotations

import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from cds_service.adapters.guarded_http import Egress, GuardedHttp, OutboundFailure, egress_to_keys
from cds_service.clients import KeyOwner
from cds_service.errors import NotAuthenticated
from cds_service.ports import Clock, KeySetReport, PublishedKey

Key = RSAKey | ECKey
OnEvent = Callable[[str], None]

MAX_KEY_SET_BYTES = 262_144
MAX_KEYS = 100
FETCH_SECONDS = 1.5  # within the 2 s of row 13
_PRIVATE_PARTS = ("d", "p", "q", "dp", "dq", "qi", "k", "oth")
_CURVE_ALGORITHM = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_RSA_BITS = range(2048, 8193)  # below is weak (row 21), above only costs us time


class KeyUnusable(Exception):
    """A published key that must not verify anything. ``why`` is a word of a closed list."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ImportedKey(msgspec.Struct, frozen=True):
    """A key ready to verify with, and the algorithms that it may verify."""

    key: Key
    algorithms: tuple[str, ...]


class _KeySet(msgspec.Struct, frozen=True):
    keys: Mapping[str, ImportedKey]
    read_at: float


class _Issuer:
    """What is known of one client's keys. ``tried_at`` counts failures too."""

    __slots__ = ("failed", "lock", "set", "tried_at")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.set: _KeySet | None = None
        self.tried_at: float | None = None
        self.failed = False


class GuardedKeyFetch(msgspec.Struct, frozen=True):
    """Reads a key set over the guarded client."""

    http: GuardedHttp
    clock: Clock

    def __call__(self, profile: KeyOwner) -> bytes:
        """The body of a 200 answer.

        Raises:
            OutboundFailure: anything else, redirects included.
        """
        if profile.jwks_url is None:
            raise OutboundFailure("not_allowed")
        egress: Egress = egress_to_keys(profile)
        deadline = self.clock.monotonic() + FETCH_SECONDS
        answer = self.http.get(
            profile.jwks_url, egress, deadline, {"Accept": "application/json"}, max_bytes=MAX_KEY_SET_BYTES
        )
        if answer.status != 200:
            raise OutboundFailure("redirected" if 300 <= answer.status < 400 else "status")
        return answer.body


class KeyRing:
    """Keys by registered client and ``kid``. Thread-safe; one fetch at a time per client."""

    def __init__(
        self,
        fetch: Callable[[KeyOwner], bytes],
        clock: Clock,
        on_event: OnEvent = lambda _word: None,
        *,
        keep_seconds: float = 600,
        unknown_kid_seconds: float = 60,
        after_failure_seconds: float = 10,
        stale_seconds: float = 3600,
    ) -> None:
        """Set the times, all in seconds.

        ``keep_seconds``: a key set is used that long before it is read again. ``unknown_kid_seconds``: least time
        between two reads because of an unknown kid. ``after_failure_seconds``: least time between two tries while
        nothing usable is known. ``stale_seconds``: how long beyond ``keep_seconds`` keys stay in use while the host
        is down. ``on_event`` gets ``jwks_fetched``, ``jwks_unavailable``, ``jwks_unusable``, ``jwks_stale_used``.
        """
        self._fetch = fetch
        self._clock = clock
        self._on_event = on_event
        self._keep = keep_seconds
        self._unknown_kid = unknown_kid_seconds
        self._after_failure = after_failure_seconds
        self._stale = stale_seconds
        self._issuers: dict[str, _Issuer] = {}
        self._lock = threading.Lock()

    def key(self, profile: KeyOwner, kid: str) -> ImportedKey:
        """The key that this client published under this ``kid``.

        Raises:
            NotAuthenticated: ``key_unknown`` or ``jwks_unavailable``.
        """
        issuer = self._issuers.get(profile.issuer) or self._new_issuer(profile.issuer)
        known = issuer.set
        now = self._clock.monotonic()
        if known is not None:
            found = known.keys.get(kid)
            if found is not None and (profile.jwks is not None or now - known.read_at < self._keep):
                return found
        return self._key_after_reading(issuer, profile, kid)

    def inspect(self, profile: KeyOwner) -> KeySetReport:
        """Look at the key set now (``ports.KeyInspector``); nothing is kept."""
        try:
            document = _document(_static(profile) or self._fetch(profile))
        except OutboundFailure as failure:
            return KeySetReport(failure.reason)
        except KeyUnusable as unusable:
            return KeySetReport(unusable.why)
        return KeySetReport("read", tuple(_published(jwk) for jwk in document))

    def _new_issuer(self, issuer: str) -> _Issuer:
        with self._lock:  # bounded: only registered issuers come here
            return self._issuers.setdefault(issuer, _Issuer())

    def _key_after_reading(self, issuer: _Issuer, profile: KeyOwner, kid: str) -> ImportedKey:
        usable = self._usable(issuer, kid)
        # Who can go on with a known key does not wait for another thread's fetch.
        if issuer.lock.acquire(blocking=usable is None, timeout=-1 if usable is not None else 2 * FETCH_SECONDS):
            try:
                if self._due(issuer, profile, kid):
                    self._read(issuer, profile)
            finally:
                issuer.lock.release()
        usable = self._usable(issuer, kid)
        if usable is None:
            raise NotAuthenticated("jwks_unavailable" if issuer.set is None else "key_unknown")
        return usable

    def _usable(self, issuer: _Issuer, kid: str) -> ImportedKey | None:
        known = issuer.set
        if known is None or self._clock.monotonic() - known.read_at >= self._keep + self._stale:
            return None
        return known.keys.get(kid)

    def _due(self, issuer: _Issuer, profile: KeyOwner, kid: str) -> bool:
        known, tried = issuer.set, issuer.tried_at
        if known is None or tried is None:
            return tried is None or self._clock.monotonic() - tried >= self._after_failure
        if profile.jwks is not None:
            return False  # settled out of band: there is nothing newer
        now = self._clock.monotonic()
        fresh = now - known.read_at < self._keep
        return (not fresh or kid not in known.keys) and now - tried >= self._unknown_kid

    def _read(self, issuer: _Issuer, profile: KeyOwner) -> None:
        try:
            keys = import_key_set(_static(profile) or self._fetch(profile))
        except OutboundFailure:
            self._on_event("jwks_unavailable")
        except KeyUnusable:
            self._on_event("jwks_unusable")
        else:
            issuer.set = _KeySet(keys, self._clock.monotonic())
            issuer.tried_at = issuer.set.read_at
            self._on_event("jwks_fetched")
            return
        issuer.tried_at = self._clock.monotonic()
        if issuer.set is not None:
            self._on_event("jwks_stale_used")


def import_key_set(body: bytes) -> Mapping[str, ImportedKey]:
    """The usable keys of a JWK Set by ``kid``. Keys that cannot be used are left out, whatever is wrong with them.

    Raises:
        KeyUnusable: the document is not a key set, or too large.
    """
    keys: dict[str, ImportedKey] = {}
    twice: set[str] = set()
    for jwk in _document(body):
        try:
            imported = import_key(jwk)
        except KeyUnusable:
            continue
        kid = jwk["kid"]
        if kid in keys:
            twice.add(kid)  # two keys under one name: which of them is meant is not ours to guess
        keys[kid] = imported
    return {kid: key for kid, key in keys.items() if kid not in twice}


def import_key(jwk: Mapping[str, Any]) -> ImportedKey:
    """One published key, judged.

    Raises:
        KeyUnusable: ``no_kid``, ``private_key_published``, ``not_for_signatures``, ``symmetric_or_unknown_type``,
            ``malformed``, ``rsa_size``, ``curve``.
    """
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= 512:
        raise KeyUnusable("no_kid")
    if any(part in jwk for part in _PRIVATE_PARTS):
        raise KeyUnusable("private_key_published")
    operations = jwk.get("key_ops")
    if jwk.get("use", "sig") != "sig" or (operations is not None and operations != ["verify"]):
        raise KeyUnusable("not_for_signatures")
    algorithms = _algorithms(jwk)
    stated = jwk.get("alg")
    if stated is not None:
        algorithms = tuple(name for name in algorithms if name == stated)
    return ImportedKey(_joserfc_key(jwk), algorithms)


def _algorithms(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    kind = jwk.get("kty")
    if kind == "RSA":
        if _bits(jwk.get("n")) not in _RSA_BITS:  # before the import, which would spend time on a huge one
            raise KeyUnusable("rsa_size")
        return _RSA_ALGORITHMS
    if kind == "EC":
        curve = jwk.get("crv")
        if not isinstance(curve, str) or curve not in _CURVE_ALGORITHM:
            raise KeyUnusable("curve")
        return (_CURVE_ALGORITHM[curve],)
    raise KeyUnusable("symmetric_or_unknown_type")


def _joserfc_key(jwk: Mapping[str, Any]) -> Key:
    public = {name: jwk[name] for name in ("kty", "n", "e", "crv", "x", "y", "kid") if name in jwk}
    try:
        key: Key = RSAKey.import_key(public) if public["kty"] == "RSA" else ECKey.import_key(public)
        _ = key.public_key  # parsed here once, not at the first call
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise KeyUnusable("malformed") from error
    return key


def _bits(modulus: object) -> int:
    if not isinstance(modulus, str):
        raise KeyUnusable("malformed")
    try:
        return int.from_bytes(urlsafe_b64decode(modulus.encode("ascii")[:2048] + b"===")).bit_length()
    except ValueError as error:
        raise KeyUnusable("malformed") from error


def _published(jwk: Mapping[str, Any]) -> PublishedKey:
    kid = jwk.get("kid")
    shown = kid if isinstance(kid, str) else ""
    kind = jwk.get("kty") if jwk.get("kty") in {"RSA", "EC", "oct", "OKP"} else "unknown"
    curve = jwk.get("crv")
    label = f"EC {curve}" if kind == "EC" and isinstance(curve, str) and curve in _CURVE_ALGORITHM else str(kind)
    try:
        imported = import_key(jwk)
    except KeyUnusable as unusable:
        return PublishedKey(shown, label, (), unusable.why)
    if isinstance(imported.key, RSAKey):
        label = f"RSA {imported.key.public_key.key_size}"
    return PublishedKey(shown, label, tuple(imported.algorithms))


def _static(profile: KeyOwner) -> bytes | None:
    return None if profile.jwks is None else msgspec.json.encode(profile.jwks)


def _document(body: bytes) -> Sequence[Mapping[str, Any]]:
    try:
        parsed = msgspec.json.decode(body, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise KeyUnusable("not_a_key_set") from error
    if len(parsed.keys) > MAX_KEYS:
        raise KeyUnusable("too_many_keys")
    return parsed.keys


class _Document(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]
