"""Keys of the sandbox: made at the first start, kept in files that only their owner reads (mode 0600)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
from joserfc.jwk import ECKey

CURVE = "P-384"
ALGORITHM = "ES384"


class Keys(msgspec.Struct, frozen=True):
    """Two purposes, two keys: a token signed for one is worthless for the other."""

    hooks: ECKey  # signs the JWT of each CDS Hooks call; its public half is at /jwks.json
    access: ECKey  # signs FHIR access tokens; verified only here


def load_or_make(directory: Path) -> Keys:
    """Read both keys from ``directory``, making what is not there yet."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keys(hooks=_key(directory / "hooks.jwk.json"), access=_key(directory / "access.jwk.json"))


def public_set(keys: Keys) -> dict[str, list[dict[str, Any]]]:
    """The JWK Set that CDS services fetch: public parts only."""
    public = dict(keys.hooks.as_dict(private=False))
    return {"keys": [{**public, "alg": ALGORITHM, "use": "sig"}]}


def _key(path: Path) -> ECKey:
    if not path.exists():
        made = ECKey.generate_key(CURVE, auto_kid=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was faster: its key is the key
            return ECKey.import_key(json.loads(path.read_text()))
        with os.fdopen(descriptor, "w") as file:
            json.dump(made.as_dict(private=True), file)
    return ECKey.import_key(json.loads(path.read_text()))
