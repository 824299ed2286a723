"""The app's keys in files of mode 0600: pairs that sign its assertions, and the ring that seals what it keeps.

``signing.json`` is a private JWK Set, ``sealing.json`` a list of AES keys; the newest stand first. A rotation puts a
new one before the last: both are published (or open) until the next rotation or ``keys retire`` (SM-28, SM-33).
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from cds_service.errors import ConfigurationError
from smart_app.adapters.sealing import KEY_ID_BYTES, Sealer

ALGORITHMS = ("RS384", "ES384")
SIGNING_FILE = "signing.json"
SEALING_FILE = "sealing.json"
_RSA_BITS = 3072
_KEPT_PAIRS = 2
_PUBLIC = ("kty", "kid", "alg", "n", "e", "crv", "x", "y")

Key = RSAKey | ECKey
NewSecret = Callable[[], str]


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[Any]


class _SealingKey(msgspec.Struct, frozen=True):
    id: str
    key: str


class SigningKeys:
    """The signing pairs of one file, read anew when the file has changed. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Reads the file. Raises ConfigurationError."""
        self._path = path
        self._read: tuple[tuple[int, int], tuple[Key, ...]] = (self._mark(), self._load())

    def _mark(self) -> tuple[int, int]:
        try:
            seen = self._path.stat()
        except OSError:
            return (0, 0)
        return seen.st_mtime_ns, seen.st_ino

    def _load(self) -> tuple[Key, ...]:
        return tuple(_imported(each, self._path) for each in _read_private(self._path, _KeySet).keys)

    def _keys(self) -> tuple[Key, ...]:
        mark = self._mark()
        if mark != self._read[0] and mark != (0, 0):
            self._read = (mark, self._load())
        return self._read[1]

    def newest(self, algorithm: str) -> Key:
        """The key that signs with ``algorithm``. Raises ConfigurationError: there is none."""
        for key in self._keys():
            if key.alg == algorithm:
                return key
        raise ConfigurationError(f"{self._path} holds no key for {algorithm}; `smart-app keys rotate` makes one")

    def public_set(self) -> dict[str, list[dict[str, Any]]]:
        """The JWK Set that is published: public members only (SM-28)."""
        return {"keys": [_public(key) for key in self._keys()]}


class AppKeys:
    """Both kinds of keys of one directory."""

    def __init__(self, directory: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Nothing is read yet."""
        self._directory = directory
        self._random_bytes = random_bytes

    @cached_property
    def signing(self) -> SigningKeys:
        """The signing pairs. Raises ConfigurationError."""
        return SigningKeys(self._directory / SIGNING_FILE)

    @cached_property
    def sealer(self) -> Sealer:
        """The sealer of what is kept. Raises ConfigurationError."""
        path = self._directory / SEALING_FILE
        found = _read_private(path, list[_SealingKey])
        try:
            keys = {bytes.fromhex(each.id): base64.b64decode(each.key, validate=True) for each in found}
        except ValueError:
            keys = {}
        if not keys or any(len(key_id) != KEY_ID_BYTES or len(key) != 32 for key_id, key in keys.items()):
            raise ConfigurationError(f"{path} is not a ring of keys; `smart-app init` makes one")
        return Sealer(keys, self._random_bytes)


def make_missing(directory: Path, new_secret: NewSecret) -> tuple[str, ...]:
    """Make the key files that are not there yet; gives their names."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = []
    for name, make in ((SIGNING_FILE, lambda: _new_pairs(new_secret)), (SEALING_FILE, lambda: [_new_sealing_key()])):
        if not (directory / name).exists():
            content: Any = {"keys": make()} if name == SIGNING_FILE else make()
            _write_private(directory / name, content)
            made.append(name)
    return tuple(made)


def rotate(directory: Path, new_secret: NewSecret) -> None:
    """New keys before the last ones; of the signing pairs the last but one is dropped, of the sealing ring none."""
    signing, sealing = directory / SIGNING_FILE, directory / SEALING_FILE
    pairs = _read_private(signing, _KeySet).keys
    kept = pairs[: (_KEPT_PAIRS - 1) * len(ALGORITHMS)]
    _write_private(signing, {"keys": [*_new_pairs(new_secret), *kept]})
    _write_private(sealing, [_new_sealing_key(), *_read_private(sealing, list[_SealingKey])])


def retire(directory: Path) -> None:
    """Drop every signing pair but the newest: what the older signed no longer verifies anywhere."""
    signing = directory / SIGNING_FILE
    pairs = _read_private(signing, _KeySet).keys
    _write_private(signing, {"keys": pairs[: len(ALGORITHMS)]})


def _new_pairs(new_secret: NewSecret) -> list[dict[str, Any]]:
    keys: Mapping[str, Key] = {"RS384": RSAKey.generate_key(_RSA_BITS), "ES384": ECKey.generate_key("P-384")}
    return [
        {**keys[alg].as_dict(private=True), "alg": alg, "kid": f"{alg.lower()}-{new_secret()[:16]}"}
        for alg in ALGORITHMS
    ]


def _new_sealing_key() -> _SealingKey:
    key = AESGCM.generate_key(256)
    return _SealingKey(os.urandom(KEY_ID_BYTES).hex(), base64.b64encode(key).decode())


def _public(key: Key) -> dict[str, Any]:
    members = key.as_dict(private=False)
    return {name: members[name] for name in _PUBLIC if name in members} | {"use": "sig", "key_ops": ["verify"]}


def _imported(members: Any, path: Path) -> Key:
    kinds: Mapping[str, type[RSAKey | ECKey]] = {"RS384": RSAKey, "ES384": ECKey}
    try:
        key: Key = kinds[members["alg"]].import_key(members)
        private = bool(members["kid"]) and key.is_private
    except (JoseError, KeyError, TypeError, ValueError):
        private = False
    if not private:
        raise ConfigurationError(f"{path} holds something that is no private key for {' or '.join(ALGORITHMS)}")
    return key


def _read_private(path: Path, kind: type[Any]) -> Any:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"SMART_APP_KEY_DIR: {path}: {error.strerror}; `smart-app init` makes it") from None
    if mode & 0o077:
        raise ConfigurationError(f"SMART_APP_KEY_DIR: {path} has mode {mode:04o}; allowed: 0600 (chmod 600)")
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(f"SMART_APP_KEY_DIR: {path} is not a file of keys") from None


def _write_private(path: Path, content: Any) -> None:
    """Replace the whole file at once: a process that reads meanwhile sees the old or the new one."""
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=1))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
