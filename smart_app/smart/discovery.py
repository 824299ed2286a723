"""What an EHR says about itself at ``/.well-known/smart-configuration``, and whether the app can work with it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from urllib.parse import urljoin

import msgspec

from cds_service.clients import normal_base
from smart_app.adapters.outbound import Outbound, OutboundFailure, egress_to_ehr, host_of, json_object
from smart_app.errors import Trouble
from smart_app.registry import EhrProfile, base_of

KEEP_SECONDS = 3_600  # SM-08
READ_SECONDS = 8
ALGORITHMS = ("ES384", "RS384")  # in the order of our liking

# Capability -> what is lacking, in words for people (SM-05).
LACKS: Mapping[str, str] = {
    "launch-ehr": "opening an app from a patient's chart (launch-ehr)",
    "launch-standalone": "opening an app on its own (launch-standalone)",
    "client-confidential-asymmetric": "apps that prove themselves with a signature (client-confidential-asymmetric)",
    "client-confidential-symmetric": "apps that prove themselves with a shared secret (client-confidential-symmetric)",
    "sso-openid-connect": "telling the app who is signed in (sso-openid-connect)",
    "permission-v2": "permissions of SMART version 1 or 2 (permission-v2)",
    "permission-patient": "permissions for one patient (permission-patient)",
    "context-ehr-patient": "telling the app which chart is open (context-ehr-patient)",
    "context-standalone-patient": "letting a person choose the patient (context-standalone-patient)",
    "S256": "sign-in protected by PKCE with S256 (code_challenge_methods_supported)",
    "issuer": "naming who signs its identity tokens (issuer)",
    "algorithm": "signatures by RS384 or ES384 (token_endpoint_auth_signing_alg_values_supported)",
}


class SmartConfiguration(msgspec.Struct, frozen=True):
    """One EHR's answer, checked: every endpoint is absolute and on a registered host."""

    authorization_endpoint: str
    token_endpoint: str
    issuer: str
    jwks_uri: str
    revocation_endpoint: str  # "": none
    capabilities: frozenset[str]
    auth_methods: tuple[str, ...]
    algorithms: tuple[str, ...]  # of client assertions; empty: not said
    pkce: tuple[str, ...]
    names_issuer: bool = False  # it promises ``iss`` in every authorization response (RFC 9207)

    @property
    def v2(self) -> bool:
        """Whether scopes are asked for in version 2's form (SM-14)."""
        return "permission-v2" in self.capabilities or "permission-v1" not in self.capabilities

    def algorithm(self, ehr: EhrProfile) -> str:
        """With which algorithm the client assertion is signed (SM-29); "" where there is none for both."""
        if ehr.signing_alg:
            return ehr.signing_alg
        if not self.algorithms:
            return "RS384"  # every SMART server verifies it; not every one says so
        return next((each for each in ALGORITHMS if each in self.algorithms), "")

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Those that the app itself calls."""
        return tuple(each for each in (self.token_endpoint, self.jwks_uri, self.revocation_endpoint) if each)


def read_configuration(body: bytes, ehr: EhrProfile) -> SmartConfiguration:
    """The document of ``ehr``.

    Raises:
        Trouble: ``ehr_unusable``: it is no such document, or names endpoints elsewhere (SM-04, row 98).
    """
    document = json_object(body)
    if document is None:
        raise Trouble("ehr_unusable", "discovery_not_json", details=("Its SMART configuration is not JSON.",))
    endpoints = {name: _endpoint(document, name, ehr) for name in _ENDPOINTS}
    for name in ("authorization_endpoint", "token_endpoint"):
        if not endpoints[name]:
            raise Trouble("ehr_unusable", "endpoint_missing", details=(f"Its SMART configuration lacks {name}.",))
    return SmartConfiguration(
        **endpoints,
        issuer=_text(document.get("issuer")),
        capabilities=frozenset(_texts(document.get("capabilities"))),
        auth_methods=_texts(document.get("token_endpoint_auth_methods_supported")),
        algorithms=_texts(document.get("token_endpoint_auth_signing_alg_values_supported")),
        pkce=_texts(document.get("code_challenge_methods_supported")),
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint")


def _endpoint(document: Mapping[str, object], name: str, ehr: EhrProfile) -> str:
    given = _text(document.get(name))
    if not given:
        return ""
    url = urljoin(base_of(ehr.iss) + "/", given)  # SM-04: a relative one stands against the FHIR base
    normal = normal_base(url.partition("?")[0])
    if normal is None or (normal[0] != "https" and not ehr.allow_http):
        raise Trouble("ehr_unusable", "endpoint_not_https", details=(f"Its {name} is no https address.",))
    if host_of(url) not in {host_of(ehr.iss), *ehr.endpoint_hosts}:
        details = (f"Its {name} is on a host that is not registered for this EHR (endpoint_hosts).",)
        raise Trouble("ehr_unusable", "endpoint_elsewhere", details=details)
    return url


def missing_features(found: SmartConfiguration, ehr: EhrProfile, *, standalone: bool) -> tuple[str, ...]:
    """What the app needs and the EHR does not offer, in words for people; empty: all is there (SM-03, SM-05)."""
    lacking = [each for each in _needed(ehr, standalone=standalone) if not _offers(found, each)]
    if "S256" not in found.pkce:
        lacking.append("S256")
    if not found.issuer or not found.jwks_uri:
        lacking.append("issuer")
    if ehr.client_secret_file is None and not found.algorithm(ehr):
        lacking.append("algorithm")
    never = {"S256", "issuer", "algorithm"}
    return tuple(LACKS[each] for each in lacking if each in never or each not in ehr.accept_missing)


def _needed(ehr: EhrProfile, *, standalone: bool) -> tuple[str, ...]:
    start = ("launch-standalone", "context-standalone-patient") if standalone else ("launch-ehr", "context-ehr-patient")
    kind = "client-confidential-symmetric" if ehr.client_secret_file else "client-confidential-asymmetric"
    return (*start, kind, "sso-openid-connect", "permission-v2", "permission-patient")


def _offers(found: SmartConfiguration, capability: str) -> bool:
    if capability == "permission-v2":
        return bool({"permission-v1", "permission-v2"} & found.capabilities)
    if capability == "client-confidential-asymmetric" and "private_key_jwt" in found.auth_methods:
        return True
    if capability == "client-confidential-symmetric" and "client_secret_basic" in found.auth_methods:
        return True
    return capability in found.capabilities


def _text(value: object) -> str:
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, list) else ()


class Discovery:
    """Asks EHRs, and remembers for at most an hour. Thread-safe."""

    def __init__(self, outbound: Outbound) -> None:
        """Nothing is asked yet."""
        self._outbound = outbound
        self._kept: dict[str, tuple[float, SmartConfiguration]] = {}
        self._lock = threading.Lock()

    def of(self, ehr: EhrProfile) -> SmartConfiguration:
        """The EHR's configuration, at most an hour old.

        Raises:
            Trouble: ``ehr_away`` or ``ehr_unusable``.
        """
        kept = self._kept.get(ehr.id)
        if kept is not None and self._outbound.monotonic() - kept[0] < KEEP_SECONDS:
            return kept[1]
        found = read_configuration(_asked(self._outbound, ehr), ehr)
        with self._lock:
            self._kept[ehr.id] = (self._outbound.monotonic(), found)
        return found

    def forget(self, ehr: EhrProfile) -> None:
        """Ask again next time: its token endpoint failed (SM-08)."""
        with self._lock:
            self._kept.pop(ehr.id, None)


def _asked(outbound: Outbound, ehr: EhrProfile) -> bytes:
    url = f"{base_of(ehr.iss)}/.well-known/smart-configuration"
    try:
        answer = outbound.json(url, egress_to_ehr(ehr), READ_SECONDS)
    except OutboundFailure as failure:
        raise Trouble("ehr_away", f"discovery_{failure.reason}") from None
    if answer.status != 200:
        raise Trouble("ehr_away", f"discovery_http_{answer.status}")
    return answer.body
