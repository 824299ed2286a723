"""SHA-256 of a whole request or document, without handing the interpreter over in the middle of a decision."""

from __future__ import annotations

import hashlib

_STEP = 2_047  # from 2,048 bytes on hashlib lets other threads run, and getting back costs more than the hash


def sha256_hex(*parts: bytes) -> str:
    """The digest of all parts joined, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        for start in range(0, len(part), _STEP):
            digest.update(part[start : start + _STEP])
    return digest.hexdigest()
