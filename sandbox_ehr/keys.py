"""Keys of the sandbox: made at the first start, kept in files that only their owner reads (mode 0600)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from joserfc.jwk import ECKey, RSAKey

CURVE = "P-384"
RSA_BITS = 2048
ALGORITHM = "ES384"
K = TypeVar("K", ECKey, RSAKey)


class Keys(msgspec.Struct, frozen=True):
    """A key for each purpose: a token signed for one is worthless for another."""

    hooks: ECKey  # signs the JWT of each CDS Hooks call; its public half is at /jwks.json
    access: ECKey  # signs FHIR access tokens; verified only here
    identity: ECKey  # signs id_tokens; public half at /oauth/jwks.json
    identity_rsa: RSAKey  # the same for apps that take RS256, as every OpenID Connect client must


def load_or_make(directory: Path) -> Keys:
    """Read all keys from ``directory``, making what is not there yet."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keys(
        hooks=_curve(directory / "hooks.jwk.json"),
        access=_curve(directory / "access.jwk.json"),
        identity=_curve(directory / "identity.jwk.json"),
        identity_rsa=_rsa(directory / "identity-rsa.jwk.json"),
    )


def public_set(keys: Keys) -> dict[str, list[dict[str, Any]]]:
    """The JWK Set that CDS services fetch: public parts only."""
    public = dict(keys.hooks.as_dict(private=False))
    return {"keys": [{**public, "alg": ALGORITHM, "use": "sig"}]}


def _curve(path: Path) -> ECKey:
    return _key(path, lambda: ECKey.generate_key(CURVE, auto_kid=True), ECKey.import_key)


def _rsa(path: Path) -> RSAKey:
    return _key(path, lambda: RSAKey.generate_key(RSA_BITS, auto_kid=True), RSAKey.import_key)


def _key(path: Path, make: Callable[[], K], read: Callable[[Any], K]) -> K:
    if not path.exists():
        made = make()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was faster: its key is the key
            return read(json.loads(path.read_text()))
        with os.fdopen(descriptor, "w") as file:
            json.dump(made.as_dict(private=True), file)
    return read(json.loads(path.read_text()))
