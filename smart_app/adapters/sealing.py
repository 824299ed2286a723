"""What is kept at rest is sealed: AES-256-GCM under a ring of keys, each text bound to its place (SM-25).

Bound to its place means: a sealed text moved to another row or column does not open. A sealed text begins with the id
of its key, so that after a rotation old texts open with the old key until they are written again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_ID_BYTES = 4
NONCE_BYTES = 12


class Unreadable(Exception):
    """Sealed with a key that is gone, moved from its place, or altered."""


class Sealer(msgspec.Struct, frozen=True):
    """``keys`` by id, the newest first. ``random_bytes`` must be of a cryptographic source."""

    keys: Mapping[bytes, bytes]
    random_bytes: Callable[[int], bytes]

    def seal(self, place: str, plain: bytes) -> bytes:
        """Key id, nonce, and ``plain`` encrypted under the newest key, bound to ``place``."""
        key_id, key = next(iter(self.keys.items()))
        nonce = self.random_bytes(NONCE_BYTES)
        return key_id + nonce + AESGCM(key).encrypt(nonce, plain, place.encode())

    def open(self, place: str, sealed: bytes) -> bytes:
        """What was sealed for ``place``. Raises Unreadable."""
        key = self.keys.get(sealed[:KEY_ID_BYTES])
        if key is None:
            raise Unreadable("sealed with a key that is not in the ring")
        nonce = sealed[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES]
        try:
            return AESGCM(key).decrypt(nonce, sealed[KEY_ID_BYTES + NONCE_BYTES :], place.encode())
        except (InvalidTag, ValueError):
            raise Unreadable("altered, or moved from its place") from None

    def digest(self, *texts: str) -> str:
        """A keyed digest by which equal things are found again without being told. Its key outlives rotations."""
        oldest = list(self.keys.values())[-1]
        return hmac.digest(oldest, "\0".join(texts).encode(), "sha256").hex()
