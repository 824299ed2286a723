"""Sign-in of reviewers at the payer's identity provider: OpenID Connect, authorization code with PKCE.

The provider's addresses come from its discovery document, which must name the configured issuer; each must be on the
issuer's own origin or on a host that the operator lists. The ID token is believed only with a signature of a
published key by a configured algorithm, the configured issuer and client, a life that lasts, and the nonce of this
very sign-in.
"""

from __future__ import annotations

import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from cds_service.adapters.guarded_http import Egress, GuardedHttp, OutboundFailure
from cds_service.adapters.signed_tokens import MAX_TOKEN, SKEW_SECONDS, Keys, TokenReader
from cds_service.clients import normal_base
from cds_service.domain.review import Person, Role, acting_role
from cds_service.errors import NotAllowed, NotAuthenticated, Unanswerable
from cds_service.ports import Clock

CALL_SECONDS = 5
KEEP_SECONDS = 3600  # a discovery document
MAX_AGE_SECONDS = 600  # an ID token was issued for this sign-in, not found somewhere
MAX_DOCUMENT = 262_144
MAX_CODE = 4_096
MAX_TEXT = 200  # characters of a name

REASONS = frozenset(
    {
        "state", "issuer_parameter", "provider_refused", "code", "provider_unavailable", "discovery", "token_refused",
        "token_answer", "issuer", "audience", "authorized_party", "expired", "issued_in_future", "issued_too_early",
        "nonce", "subject",
    }
)  # fmt: skip  # beside those of ``signed_tokens``


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator settled with the identity provider. A ``clients.KeyOwner`` once its keys' address is known."""

    issuer: str
    client_id: str
    client_secret: str = ""  # "": a public client; PKCE is used either way
    redirect_uri: str
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "RS384", "ES384")
    hosts: tuple[str, ...] = ()  # further hosts of the provider's endpoints
    roles_claim: str = "roles"  # dots go down: realm_access.roles
    role_names: Mapping[str, Role] = {}  # the provider's word -> role
    npi_claim: str = "npi"
    jwks_url: str | None = None
    jwks: dict[str, Any] | None = None
    allow_private: bool = False
    allow_http: bool = False
    ca_file: str | None = None


class Begun(msgspec.Struct, frozen=True):
    """A sign-in on its way: where the browser goes, and what must be kept on our side until it comes back."""

    url: str
    kept: Mapping[str, str]  # state, nonce, verifier


class _Discovered(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    authorization_response_iss_parameter_supported: bool = False


class _TokenAnswer(msgspec.Struct, frozen=True):
    id_token: str


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: int | float
    iat: int | float
    nonce: str
    azp: str | None = None
    name: str = ""
    preferred_username: str = ""


class OidcSignIn:
    """One provider. Thread-safe; keeps its discovery document for an hour."""

    def __init__(
        self, provider: Provider, http: GuardedHttp, keys: Keys, clock: Clock, new_secret: Callable[[], str]
    ) -> None:
        """``new_secret`` gives 256 random bits as URL-safe text."""
        self._provider = provider
        self._http = http
        self._clock = clock
        self._new_secret = new_secret
        self._tokens = TokenReader(provider.algorithms, keys, _Claims)
        self._known: tuple[float, _Discovered] | None = None

    def begin(self) -> Begun:
        """Start a sign-in. Raises Unanswerable while the provider cannot be reached."""
        found = self._discovered()
        kept = {"state": self._new_secret(), "nonce": self._new_secret(), "verifier": self._new_secret()}
        asked = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._provider.redirect_uri,
            "scope": "openid profile",
            "state": kept["state"],
            "nonce": kept["nonce"],
            "code_challenge": challenge_of(kept["verifier"]),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in found.authorization_endpoint else "?"
        return Begun(f"{found.authorization_endpoint}{joint}{urlencode(asked)}", kept)

    def finish(self, answer: Mapping[str, str], kept: Mapping[str, str]) -> Person:
        """The person who signed in.

        Args:
            answer: query of the browser's return.
            kept: of ``begin``; the caller has removed it from where it was kept, so that it serves once.

        Raises:
            NotAuthenticated: with a reason of ``REASONS`` or of ``signed_tokens``.
            NotAllowed: known, and without a role here.
            Unanswerable: the provider cannot be reached.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), kept["state"].encode()):
            raise NotAuthenticated("state")
        found = self._discovered()
        said = answer.get("iss")
        if (said or found.authorization_response_iss_parameter_supported) and said != self._provider.issuer:
            raise NotAuthenticated("issuer_parameter")
        if "error" in answer:
            raise NotAuthenticated("provider_refused")
        code = answer.get("code", "")
        if not 0 < len(code) <= MAX_CODE:
            raise NotAuthenticated("code")
        return self._person(self._exchanged(found, code, kept["verifier"]), found, kept["nonce"])

    def _person(self, token: str, found: _Discovered, nonce: str) -> Person:
        try:
            written = token.encode("ascii")
        except UnicodeEncodeError:
            raise NotAuthenticated("token_malformed") from None
        if not 0 < len(written) <= MAX_TOKEN:
            raise NotAuthenticated("token_size")
        signed, header, claims = self._tokens.opened(written)
        if claims.iss != self._provider.issuer:
            raise NotAuthenticated("issuer")
        owner = msgspec.structs.replace(self._provider, jwks_url=found.jwks_uri)
        self._tokens.check_signature(signed, header, owner)
        self._check(claims, nonce)
        roles, npi = self._entitlements(msgspec.json.decode(signed.payload or b"{}", type=dict[str, Any]))
        role = acting_role(roles)
        if role is None:
            raise NotAllowed("this account has no role here")
        return Person(claims.sub, _shown(claims.name or claims.preferred_username or claims.sub), role, npi)

    def _check(self, claims: _Claims, nonce: str) -> None:
        audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
        now = self._clock.now().timestamp()
        complaints = (
            ("audience", self._provider.client_id not in audiences),
            (
                "authorized_party",
                claims.azp != self._provider.client_id and (len(audiences) > 1 or claims.azp is not None),
            ),
            ("expired", claims.exp < now - SKEW_SECONDS),
            ("issued_in_future", claims.iat > now + SKEW_SECONDS),
            ("issued_too_early", claims.iat < now - MAX_AGE_SECONDS),
            ("nonce", not hmac.compare_digest(claims.nonce.encode(), nonce.encode())),
            ("subject", not 0 < len(claims.sub) <= MAX_TEXT or not claims.sub.isprintable()),
        )
        for reason, broken in complaints:
            if broken:
                raise NotAuthenticated(reason)

    def _entitlements(self, claims: Mapping[str, Any]) -> tuple[frozenset[Role], str]:
        """Roles that the token grants here, and the NPI where it holds one."""
        granted = _down(claims, self._provider.roles_claim)
        words = [granted] if isinstance(granted, str) else granted if isinstance(granted, list) else []
        names = self._provider.role_names or {role.value: role for role in Role}
        npi = _down(claims, self._provider.npi_claim)
        usable = isinstance(npi, str) and len(npi) == 10 and npi.isascii() and npi.isdigit()
        return frozenset(
            names[word] for word in words if isinstance(word, str) and word in names
        ), npi if usable else ""

    def _exchanged(self, found: _Discovered, code: str, verifier: str) -> str:
        """The ID token for a code; its client secret travels in the header only."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._provider.redirect_uri,
            "code_verifier": verifier,
            "client_id": self._provider.client_id,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._provider.client_secret:
            pair = f"{quote(self._provider.client_id, safe='')}:{quote(self._provider.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        status, body = self._call("POST", found.token_endpoint, headers, urlencode(form).encode())
        if status != 200:
            raise NotAuthenticated("token_refused")
        try:
            return msgspec.json.decode(body, type=_TokenAnswer).id_token
        except (msgspec.MsgspecError, ValueError):
            raise NotAuthenticated("token_answer") from None

    def _discovered(self) -> _Discovered:
        now = self._clock.monotonic()
        if self._known is not None and now - self._known[0] < KEEP_SECONDS:
            return self._known[1]
        url = f"{self._provider.issuer.removesuffix('/')}/.well-known/openid-configuration"
        status, body = self._call("GET", url, {"Accept": "application/json"}, None)
        try:
            found = msgspec.json.decode(body, type=_Discovered) if status == 200 else None
        except (msgspec.MsgspecError, ValueError):
            found = None
        if found is None or found.issuer != self._provider.issuer or not self._usable(found):
            raise Unanswerable("the identity provider's discovery document cannot be used")
        self._known = (now, found)
        return found

    def _usable(self, found: _Discovered) -> bool:
        places = [self._placed(each) for each in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)]
        return all(places)

    def _placed(self, url: str) -> bool:
        """Whether an endpoint is on the issuer's origin, or by https on a host that the operator lists."""
        place, issuer = normal_base(url.partition("?")[0]), normal_base(self._provider.issuer)
        if place is None or issuer is None:
            return False
        return place[:3] == issuer[:3] or (place[0] == "https" and place[1] in self._provider.hosts)

    def _call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        owner = self._provider
        egress = Egress((url,), (), owner.allow_private, owner.allow_http, owner.ca_file)
        deadline = self._clock.monotonic() + CALL_SECONDS
        try:
            answer = self._http.send(method, url, egress, deadline, headers, body=body, max_bytes=MAX_DOCUMENT)
        except OutboundFailure:
            raise Unanswerable("the identity provider cannot be reached now; try again") from None
        return answer.status, answer.body


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def _down(claims: Mapping[str, Any], path: str) -> Any:
    value: Any = claims.get(path)  # a claim may have dots in its own name, as https://payer.example/roles
    if value is not None:
        return value
    value = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _shown(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable())[:MAX_TEXT]
