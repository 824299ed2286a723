"""Files of secrets: keys for patient digests and for tokens, and digests of readers' tokens (reliability 121)."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from cds_service.errors import ConfigurationError

KEY_BYTES = 32
_READER = re.compile(r"([A-Za-z0-9._-]{1,64})\s+([0-9a-f]{64})")


def load_or_make_key(path: Path) -> bytes:
    """The key in ``path``, made there at first use (32 bytes, mode 0600), also when several processes start at once.

    Raises:
        ConfigurationError: others than its owner can read it, it holds no key, or it cannot be made.
    """
    key = _secret("CDS_KEY_FILE", path, lambda: secrets.token_bytes(KEY_BYTES))
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"CDS_KEY_FILE: {path} holds {len(key)} bytes; allowed: {KEY_BYTES}")
    return key


def load_or_make_token_key(path: Path) -> ECKey:
    """The P-384 key in ``path`` that signs our tokens (PEM, mode 0600), made there at first use.

    Raises:
        ConfigurationError: others than its owner can read it, it holds no such key, or it cannot be made.
    """
    pem = _secret("CDS_TOKEN_KEY_FILE", path, lambda: ECKey.generate_key("P-384").as_pem(private=True))
    try:
        key = ECKey.import_key(pem.decode("ascii"))
        usable = key.is_private and key.curve_name == "P-384"
    except (JoseError, ValueError, TypeError, UnicodeDecodeError):
        usable = False
    if not usable:
        raise ConfigurationError(f"CDS_TOKEN_KEY_FILE: {path} holds no such key; allowed: one P-384 private key as PEM")
    return key


def load_client_secret(path: Path | None) -> str:
    """The secret of our client at the reviewers' identity provider; "" where there is none.

    Raises:
        ConfigurationError: others than its owner can read it, or it cannot be read.
    """
    if path is None:
        return ""
    try:
        mode, text = stat.S_IMODE(path.stat().st_mode), path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"CDS_OIDC_CLIENT_SECRET_FILE: {path} cannot be read") from None
    if mode & 0o077:
        raise ConfigurationError(f"CDS_OIDC_CLIENT_SECRET_FILE: {path} has mode {mode:04o}; allowed: 0600 (chmod 600)")
    if not text:
        raise ConfigurationError(f"CDS_OIDC_CLIENT_SECRET_FILE: {path} is empty")
    return text


def _secret(setting: str, path: Path, fresh: Callable[[], bytes]) -> bytes:
    try:
        if not path.exists():
            _make(path, fresh())
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path} cannot be used: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigurationError(f"{setting}: {path} has mode {mode:04o}; allowed: 0600 (chmod 600)")
    return content


def _make(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.link(draft, path)  # of two processes one wins, and both then read the same whole file
    except FileExistsError:
        return
    finally:
        draft.unlink()


def load_readers(path: Path | None) -> Mapping[str, str]:
    """Reader names by SHA-256 of their token: lines ``name sha256``; empty lines and ``#`` comments are skipped.

    Raises:
        ConfigurationError: the file cannot be read, or names file, line and what is allowed there.
    """
    if path is None:
        return {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"CDS_READERS_FILE: {path} cannot be read") from None
    readers: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _READER.fullmatch(text)
        if found is None or found[2] in readers:
            raise ConfigurationError(f"{path}:{number}: allowed: a name and the token's own SHA-256 in hexadecimal")
        readers[found[2]] = found[1]
    return readers
