"""Signed tokens of registered parties: taken apart, and the signature held against the party's published keys.

The token only ever selects among what the operator has registered: a claim selects the party, the ``kid`` selects one
of that party's published keys. Nothing in it names an address that we would visit or a key that we would trust.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from cds_service.adapters.jwks import ImportedKey
from cds_service.clients import KeyOwner
from cds_service.errors import NotAuthenticated

SKEW_SECONDS = 60
MAX_HEADER = 4096  # characters of the encoded JOSE header; the library's own limit of 512 shuts out real clients
MAX_TOKEN = 16_384
MAX_NAME = 512  # of a kid, an aud or a jti

Claims = TypeVar("Claims")


class Keys(Protocol):
    """Where the keys of registered parties are (``jwks.KeyRing``)."""

    def key(self, owner: KeyOwner, kid: str) -> ImportedKey:
        """The party's key under this kid, or NotAuthenticated."""
        ...


class TokenReader(Generic[Claims]):
    """Opens tokens of one shape. Thread-safe."""

    def __init__(self, algorithms: Iterable[str], keys: Keys, claims: type[Claims]) -> None:
        """``algorithms`` of all parties together; ``claims`` is a msgspec Struct of strict types."""
        self._keys = keys
        self._claims = msgspec.json.Decoder(claims)
        self._registry = jws.JWSRegistry(
            algorithms=sorted(set(algorithms) or {"ES384"}),
            strict_check_header=False,  # members that we do not know must not shut a real client out
        )
        self._registry.max_header_length = MAX_HEADER

    def opened(self, token: bytes) -> tuple[jws.CompactSignature, Mapping[str, object], Claims]:
        """The parts of a token, nothing of them believed yet."""
        try:
            signed = jws.extract_compact(token, None, self._registry)
            header = signed.headers()
            claims = self._claims.decode(signed.payload or b"")
        except msgspec.MsgspecError:
            raise NotAuthenticated("claims_malformed") from None
        except (JoseError, ValueError, TypeError, RecursionError, AttributeError):
            raise NotAuthenticated("token_malformed") from None
        return signed, header, claims

    def check_signature(self, signed: jws.CompactSignature, header: Mapping[str, object], owner: KeyOwner) -> None:
        """Raise NotAuthenticated unless one of the owner's keys, named by ``kid``, signed this."""
        algorithm, kid = check_header(header, owner)
        found = self._keys.key(owner, kid)
        if algorithm not in found.algorithms:
            raise NotAuthenticated("key_algorithm")
        try:
            valid = jws.validate_compact(signed, found.key, registry=self._registry)
        except (JoseError, ValueError, TypeError):
            valid = False
        if not valid:
            raise NotAuthenticated("signature")


def bearer(values: Sequence[str]) -> bytes:
    """The token of exactly one Authorization header; raises NotAuthenticated."""
    if len(values) != 1:
        raise NotAuthenticated("authorization_repeated" if values else "authorization_missing")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated("authorization_scheme" if scheme else "authorization_missing")
    return token_bytes(token)


def token_bytes(token: str) -> bytes:
    """The bytes of a token of bearable size; raises NotAuthenticated."""
    if not 0 < len(token) <= MAX_TOKEN:
        raise NotAuthenticated("token_size")
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise NotAuthenticated("token_malformed") from None


def check_header(header: Mapping[str, object], owner: KeyOwner) -> tuple[str, str]:
    """(alg, kid) of an acceptable JOSE header (reliability 4-11, 17-19, 38)."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise NotAuthenticated("header_type")
    if "crit" in header or "b64" in header or "zip" in header:
        raise NotAuthenticated("header_critical")
    if "jwk" in header or "x5u" in header:
        raise NotAuthenticated("header_embedded_key")
    if not isinstance(algorithm, str) or algorithm not in owner.algorithms:
        raise NotAuthenticated("algorithm")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_NAME:
        raise NotAuthenticated("kid")
    if "jku" in header and header["jku"] != owner.jwks_url:
        raise NotAuthenticated("jku")
    return algorithm, kid
