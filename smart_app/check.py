"""``smart-app check``: is every registered EHR and payer as the files say, and can the app work with it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from cds_service.errors import ConfigurationError
from smart_app.adapters.keys import AppKeys
from smart_app.adapters.outbound import Egress, Outbound, OutboundFailure, json_object
from smart_app.adapters.payer_client import PayerClient, PayerTrouble
from smart_app.adapters.registry_files import load_registry
from smart_app.errors import Trouble
from smart_app.registry import EhrProfile, PayerProfile
from smart_app.settings import Settings, refuse_plain_http
from smart_app.smart.assertion import client_assertion
from smart_app.smart.discovery import Discovery, missing_features
from smart_app.world import World

_OWN_SECONDS = 5  # for the app's own key set


class Finding(msgspec.Struct, frozen=True):
    """One line of the table."""

    what: str
    fine: bool
    said: str


def check_all(settings: Settings, world: World) -> tuple[Finding, ...]:
    """Every finding, wrong or right, in the order in which one would mend them."""
    return tuple(_findings(settings, world))


def _findings(settings: Settings, world: World) -> Iterator[Finding]:
    yield _tried("settings", lambda: refuse_plain_http(settings), settings.public_url)
    keys = AppKeys(settings.key_dir, world.random_bytes)
    outbound = Outbound(world.http, world.monotonic)
    yield _signing_keys(keys, settings, outbound)
    yield _tried("sealing keys", lambda: keys.sealer, "present")
    try:
        registry = load_registry(
            settings.config_dir, insecure_dev=settings.insecure_dev, production=settings.in_production
        )
    except ConfigurationError as error:
        yield Finding("registrations", fine=False, said=error.diagnostics)
        return
    if not registry.ehrs:
        yield Finding("EHRs", fine=False, said=f"none is registered in {settings.config_dir / 'ehrs'}")
    if not registry.payers:
        yield Finding("payers", fine=False, said=f"none is registered in {settings.config_dir / 'payers'}")
    payers = PayerClient(outbound, lambda payer, endpoint: _assertion(keys, settings, world, payer, endpoint))
    for ehr in registry.ehrs.values():
        yield _ehr(ehr, Discovery(outbound))
    for payer in registry.payers.values():
        yield _payer(payer, payers)


def _assertion(keys: AppKeys, settings: Settings, world: World, payer: PayerProfile, endpoint: str) -> str:
    return client_assertion(
        keys.signing,
        client_id=payer.client_id,
        audience=endpoint,
        algorithm=payer.signing_alg or "ES384",
        now=world.now(),
        new_secret=world.new_secret,
        jwks_url=settings.jwks_url,
    )


def _signing_keys(keys: AppKeys, settings: Settings, outbound: Outbound) -> Finding:
    """Whether they are there, and whether others find them where we say. One may check before the app is started."""
    try:
        ours = {each["kid"] for each in keys.signing.public_set()["keys"]}
    except ConfigurationError as error:
        return Finding("signing keys", fine=False, said=error.diagnostics)
    egress = Egress((settings.jwks_url,), (), allow_private=True, allow_http=settings.insecure_dev, ca_file=None)
    try:
        shown = json_object(outbound.json(settings.jwks_url, egress, _OWN_SECONDS).body) or {}
    except OutboundFailure:
        shown = {}
    listed = shown.get("keys")
    if isinstance(listed, list) and ours <= {each.get("kid") for each in listed if isinstance(each, dict)}:
        return Finding("signing keys", fine=True, said=f"published at {settings.jwks_url}")
    said = (
        f"present, but not to be seen at {settings.jwks_url}\n"
        "Start the app, or name its address here: SMART_APP_PUBLIC_URL, or SMART_APP_PORT on one's own machine"
    )
    return Finding("signing keys", fine=True, said=said)


def _tried(what: str, work: Callable[[], object], said: str) -> Finding:
    try:
        work()
    except ConfigurationError as error:
        return Finding(what, fine=False, said=error.diagnostics)
    return Finding(what, fine=True, said=said)


def _ehr(ehr: EhrProfile, discovery: Discovery) -> Finding:
    what = f"EHR {ehr.id}"
    if not ehr.enabled:
        return Finding(what, fine=True, said="not enabled")
    try:
        found = discovery.of(ehr)
    except Trouble as trouble:
        return Finding(what, fine=False, said=" ".join((trouble.reason.replace("_", " "), *trouble.details)))
    lacking = missing_features(found, ehr, standalone=False)
    if lacking:
        return Finding(what, fine=False, said="it lacks " + "; ".join(lacking))
    return Finding(
        what, fine=True, said=f"answers; signing with {found.algorithm(ehr)}, scopes v{2 if found.v2 else 1}"
    )


def _payer(payer: PayerProfile, client: PayerClient) -> Finding:
    """Whether it lets the app in (with a token, unless it is open) and says what it can do."""
    what = f"payer {payer.id}"
    if not payer.enabled:
        return Finding(what, fine=True, said="not enabled")
    try:
        statement = client.call(payer, payer.dtr_base, payer.scopes, "GET", "metadata", None)
    except PayerTrouble as trouble:
        return Finding(what, fine=False, said=_TROUBLES.get(trouble.kind, trouble.kind))
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return Finding(what, fine=False, said="metadata of its DTR base is no CapabilityStatement")
    let_in = "open" if payer.open_api else "gives a token"
    return Finding(
        what, fine=True, said=f"answers, {let_in}; DTR {payer.dtr_version}{', PAS' if payer.pas_base else ''}"
    )


_TROUBLES = {
    "away": "its DTR base or token endpoint does not answer",
    "busy": "it asks to come again later",
    "refused": "it does not let the app in: is the client registered there, and can it read our key set?",
    "declined": "it does not answer metadata of its DTR base",
    "unreadable": "it answers with something that is no FHIR",
}


def table(findings: Iterable[Finding]) -> str:
    """What, ok or wrong, and what there is to say; each further line of that stands below the first."""
    shown = tuple(findings)
    width = max((len(each.what) for each in shown), default=0)
    margin = "\n" + " " * (width + len("  WRONG  "))
    return "\n".join(
        f"{each.what:<{width}}  {'ok   ' if each.fine else 'WRONG'}  {each.said.replace(chr(10), margin)}"
        for each in shown
    )
