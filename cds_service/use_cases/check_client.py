"""``check-client``: what is right and what is wrong with one EHR's set-up, in sentences for who connects it.

Nothing here is guessed about the EHR: keys are looked at now, the rest is compared with what this service publishes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from cds_service.cds_hooks.prefetch import WANTED, readable_types
from cds_service.clients import ClientProfile
from cds_service.ports import KeyInspector, KeySetReport, PrefetchSeen, PublishedKey

LEVELS = ("ok", "note", "problem")
_CRD_SECONDS = 5  # cds-hooks-crd 106
# In every US Core version: a token that cannot read these is wrongly granted. Others many EHRs do not have at all.
_US_CORE = frozenset(
    {"Patient", "Encounter", "Coverage", "Condition", "MedicationRequest", "Observation", "Procedure", "Device"}
)
_ORDER_TYPES = ("MedicationRequest", "ServiceRequest", "DeviceRequest")

# Why an address of the client's gave nothing usable -> what to do about it.
_UNREACHABLE: Mapping[str, str] = {
    "not_allowed": "this service may not call it: plain http needs allow_http, and --insecure-dev or "
    "CDS_INSECURE_DEV=on; and the address must be written exactly as registered",
    "address_refused": "its name leads to a private, loopback or link-local address; if the site is in a private "
    "network on purpose, set allow_private: true",
    "name_not_resolved": "its name does not resolve; check the spelling and this machine's name server",
    "connect_failed": "nobody accepts the connection; check port and firewall on both sides",
    "tls_failed": "its certificate is not accepted: expired, for another name, by an unknown authority, or older than "
    "TLS 1.2; for a site's own authority set ca_file",
    "disconnected": "it closes the connection without an answer",
    "broken_off": "it breaks off within its answer",
    "too_large": "its answer is larger than this service reads",
    "late": "it does not answer in time",
    "bad_encoding": "it answers in a content encoding that was not asked for",
    "redirected": "it redirects; register the address that it redirects to, because redirects are never followed",
    "status": "it answers with an error status",
    "not_a_key_set": 'it answers, but not with a JSON Web Key Set ({"keys": [...]}); a sign-in page is a common cause',
    "too_many_keys": "its key set has more keys than this service reads",
}
_KEY_UNUSABLE: Mapping[str, str] = {
    "no_kid": "has no kid, so no token can name it",
    "private_key_published": "is published with its private part: take it out of use at once",
    "not_for_signatures": 'is not for verifying signatures ("use" or "key_ops")',
    "symmetric_or_unknown_type": "is neither RSA nor EC",
    "malformed": "cannot be read as a key",
    "rsa_size": "has fewer than 2048 bits (or more than 8192)",
    "curve": "is on a curve that is not used here (P-384 for ES384)",
}


class Finding(msgspec.Struct, frozen=True):
    """One sentence about one topic. ``level``: ok, note or problem."""

    level: str
    topic: str
    text: str


class Report(msgspec.Struct, frozen=True):
    """What was found about one client."""

    client: str
    findings: tuple[Finding, ...]

    @property
    def fine(self) -> bool:
        """Whether nothing keeps this client from working."""
        return all(finding.level != "problem" for finding in self.findings)

    @property
    def text(self) -> str:
        """For a terminal: one line per finding, then the verdict."""
        lines = [f"{finding.level:<8}{finding.topic}: {finding.text}" for finding in self.findings]
        problems = sum(finding.level == "problem" for finding in self.findings)
        verdict = "nothing in the way" if not problems else f"{problems} problem{'s' if problems > 1 else ''}"
        return "\n".join([f"client {self.client}", *lines, verdict])


def check_client(
    profile: ClientProfile,
    *,
    keys: KeyInspector,
    urls: Mapping[str, str],
    servers: Mapping[str, str] | None = None,
    seen: PrefetchSeen | None = None,
) -> Report:
    """Look at one client's set-up.

    Args:
        profile: the client as registered.
        keys: looks at its key set now.
        urls: hook -> the public URL of our service for it, as clients must send it in ``aud``.
        servers: FHIR base -> ``answers``, or the reason word of why not; None when nobody looked.
        seen: the prefetch keys of its latest calls, keys unknown to us included; None when nobody looked.
    """
    parts = (
        _registration(profile),
        _keys(profile, keys.inspect(profile)),
        _audiences(profile, urls),
        _servers(profile, servers),
        _scopes(profile),
        _prefetch(profile, seen),
        _answers(profile),
    )
    return Report(profile.id, tuple(finding for part in parts for finding in part))


def _registration(profile: ClientProfile) -> Iterator[Finding]:
    if not profile.enabled:
        yield Finding("problem", "registration", "the client is disabled; set enabled: true to let it in")
    if not profile.hooks:
        yield Finding("problem", "registration", "it may use no hook; list them under hooks")
    else:
        yield Finding(
            "ok", "registration", f"it may use {_list(profile.hooks)}; its tokens must say iss {profile.issuer}"
        )
    if profile.tenants:
        yield Finding("ok", "registration", f"tokens with tenant {_list(profile.tenants)}, or without one, are let in")
    else:
        text = "a token that names a tenant is refused; if the EHR sends one, list it under tenants"
        yield Finding("note", "registration", text)
    if profile.deadline_seconds > _CRD_SECONDS:
        text = f"answers may take {profile.deadline_seconds} s, but CRD clients may stop waiting after {_CRD_SECONDS} s"
        yield Finding("note", "registration", text)


def _keys(profile: ClientProfile, report: KeySetReport) -> Iterator[Finding]:
    place = "jwks in the client file" if profile.jwks is not None else str(profile.jwks_url)
    if report.state != "read":
        why = _UNREACHABLE.get(report.state, report.state)
        yield Finding("problem", "keys", f"{place} cannot be used: {why}")
        return
    usable = [key for key in report.keys if set(key.algorithms) & set(profile.algorithms)]
    if usable:
        held = f"{len(report.keys)} key{'s' if len(report.keys) > 1 else ''}"
        yield Finding("ok", "keys", f"{place} was read: {held}, {len(usable)} usable")
    else:
        text = f"{place} was read, but none of its {len(report.keys)} keys can verify {_list(profile.algorithms)}"
        yield Finding("problem", "keys", text)
    for key in report.keys:
        yield _key(profile, key)
    for kid, count in Counter(key.kid for key in usable).items():
        if count > 1:
            yield Finding("problem", "keys", f"kid {kid} stands {count} times, so none of these keys is used")
    weak = sorted(set(profile.algorithms) - {"RS384", "ES384"})
    if weak:
        yield Finding("note", "keys", f"{_list(weak)} is allowed for this client; CDS Hooks recommends RS384 and ES384")
    if profile.jwks is not None and profile.jwks_url is not None:
        yield Finding("note", "keys", "jwks is used; jwks_url is only compared with a token's jku and never read")


def _key(profile: ClientProfile, key: PublishedKey) -> Finding:
    name = f"kid {key.kid} ({key.kind})" if key.kid else f"a key ({key.kind})"
    if key.why:
        level = "problem" if key.why == "private_key_published" else "note"
        return Finding(level, "keys", f"{name} {_KEY_UNUSABLE.get(key.why, key.why)}")
    common = [name for name in key.algorithms if name in profile.algorithms]
    if not common:
        return Finding("note", "keys", f"{name} is for {_list(key.algorithms)}, which this client may not use")
    return Finding("ok", "keys", f"{name} verifies {_list(common)}")


def _audiences(profile: ClientProfile, urls: Mapping[str, str]) -> Iterator[Finding]:
    for hook in profile.hooks:
        if hook not in urls:
            yield Finding("problem", "aud", f"this service has no {hook}")
            continue
        yield Finding("ok", "aud", f"for {hook} a token's aud must be exactly {urls[hook]}")
    if any(not urls[hook].startswith("https://") for hook in profile.hooks if hook in urls):
        text = "this address is not https, real clients will not call it; set CDS_PUBLIC_URL to the public one"
        yield Finding("note", "aud", text)
    if profile.audiences:
        yield Finding("note", "aud", f"{_list(profile.audiences)} is accepted for every hook as well")
    if profile.single_aud:
        yield Finding("note", "aud", "a token with more than one aud is refused (single_aud)")


def _servers(profile: ClientProfile, servers: Mapping[str, str] | None) -> Iterator[Finding]:
    if not profile.fhir_servers:
        text = "none is registered: what prefetch does not hold cannot be read, and a call that names one is refused"
        yield Finding("problem", "fhir", text)
    for base in profile.fhir_servers:
        state = None if servers is None else servers.get(base)
        if state is None:
            yield Finding("note", "fhir", f"{base} is registered; it was not contacted")
        elif state == "answers":
            yield Finding("ok", "fhir", f"{base} answers")
        else:
            yield Finding("problem", "fhir", f"{base} cannot be used: {_UNREACHABLE.get(state, state)}")
    if profile.open_fhir:
        yield Finding("note", "fhir", "the server is read without a token (open_fhir)")


def _scopes(profile: ClientProfile) -> Iterator[Finding]:
    if not profile.scopes:
        text = "not stated; put what the site grants under scopes to have it compared with what this service reads"
        yield Finding("note", "scopes", text)
        return
    readable = readable_types(" ".join(profile.scopes))
    if readable is None:
        text = "not all are SMART syntax, so they tell nothing: every query is tried, and a 403 counts as not readable"
        yield Finding("note", "scopes", text)
        return
    missing = [] if "*" in readable else [kind for kind in WANTED.values() if kind not in readable]
    for level, kinds in (
        ("problem", [kind for kind in missing if kind in _US_CORE]),
        ("note", [kind for kind in missing if kind not in _US_CORE]),
    ):
        if kinds:
            text = f"the token cannot read {_list(kinds)}; what only these show stays unknown unless it is prefetched"
            yield Finding(level, "scopes", text)
    if not missing:
        yield Finding("ok", "scopes", "they cover everything that this service reads")


def _prefetch(profile: ClientProfile, seen: PrefetchSeen | None) -> Iterator[Finding]:
    if profile.prefetch_aliases:
        pairs = [f"{theirs} is read as {ours}" for theirs, ours in profile.prefetch_aliases.items()]
        yield Finding("note", "prefetch", _list(pairs))
    if seen is None or not seen.calls:
        known = "no answered call lately" if seen else "past calls are not on record, or the store cannot be read"
        yield Finding("note", "prefetch", f"{known}; it should send {_list(WANTED)}")
        return
    counts: Counter[str] = Counter()
    for key, count in seen.keys.items():
        counts[profile.prefetch_aliases.get(key, key)] += count
    missing = [key for key in WANTED if not counts[key]]
    unknown = [key for key in counts if key not in WANTED]
    yield Finding("ok", "prefetch", f"{len(WANTED) - len(missing)} of {len(WANTED)} keys in {seen.calls} latest calls")
    if "coverage" in missing:
        yield Finding(
            "problem",
            "prefetch",
            "coverage was never sent: without it, and without a readable server, calls end with 412",
        )
    if missing:
        yield Finding(
            "note", "prefetch", f"never sent lately: {_list(missing)}; each is read from the FHIR server instead"
        )
    # order-dispatch has no encounter to send: it is not expected of every call.
    seldom = [f"{key} ({counts[key]})" for key in WANTED if 0 < counts[key] < seen.calls and key != "encounter"]
    if seldom:
        yield Finding("note", "prefetch", f"sent in some of {seen.calls} calls only: {_list(seldom)}")
    if unknown:
        text = f"not known here: {_list(unknown)}; if one of them is a renamed key of ours, add it to prefetch_aliases"
        yield Finding("note" if not missing else "problem", "prefetch", text)


def _answers(profile: ClientProfile) -> Iterator[Finding]:
    yield Finding("ok", "answers", f"CRD {profile.crd_version}; jti {profile.jti}")
    unable = [kind for kind in _ORDER_TYPES if kind not in profile.system_actions]
    if profile.system_actions:
        yield Finding(
            "ok", "answers", f"coverage information is sent as a system action on {_list(profile.system_actions)}"
        )
    if unable and profile.fallback_card:
        yield Finding("ok", "answers", f"for {_list(unable)} a card says what the system action would have said")
    elif unable:
        text = (
            f"the EHR takes no system action on {_list(unable)} and fallback_card is false, so the answer for such an "
            "order reaches nobody; set fallback_card: true"
        )
        yield Finding("problem", "answers", text)
    if not profile.smart_link:
        yield Finding("note", "answers", "cards carry no SMART link; the form must be opened from the EHR's own menu")


def _list(items: Iterable[str]) -> str:
    return ", ".join(items) or "nothing"
