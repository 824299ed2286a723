"""The structural gate: what a Bundle must be before anything is decided of it (PAS rows P010-P035).

Deliberately strict where a slip would make a decision wrong (whose request, which service, which reference), and
lenient where the guide's own examples are (see docs/pas.md). Every finding is told at once. Nothing is echoed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, PasBundle, identifier_of, references
from cds_service.fhir.pas.gate_claim import claim_issues
from cds_service.fhir.pas.gate_inquiry import inquiry_issues
from cds_service.fhir.pas.gate_support import support_issues
from cds_service.fhir.pas.issues import Issue

UUID4: Final = re.compile(
    r"urn:uuid:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
_WEB: Final = re.compile(r"https?://[^\s/]+/\S+")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-][0-1][0-9]:[0-5][0-9])"
)
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
# Where the guide's own examples leave references of a role open, ours do not decide anything by them.
_OPEN: Final = frozenset({"PractitionerRole", "Location", "Encounter", "Provenance"})
_MOST: Final = 100  # findings that one answer tells


def check_submit(bundle: PasBundle, version: str) -> list[Issue]:
    """Everything wrong with a request Bundle; ``version`` "2.0.1" or "2.2". Warnings are among it."""
    found = list(_shape(bundle))
    if found or bundle.entries[0].kind != "Claim":
        return found[:_MOST] or [_first()]
    found += _entries(bundle)
    claims = [entry for entry in bundle.entries if entry.kind == "Claim"]
    if len(claims) > (2 if bundle.claim.resource.get("related") else 1):
        text = "a request holds one Claim; an update also the one that it replaces"
        found.append(Issue("P011", "structure", text, "Bundle.entry"))
    found += claim_issues(bundle, version)
    found += _unresolved(bundle)
    for entry in bundle.entries:
        found += _modifiers(entry.resource, _at(entry), entry.kind)
        found += support_issues(bundle, entry, version)
    return found[:_MOST]


def check_inquiry(bundle: PasBundle, version: str) -> list[Issue]:
    """Everything wrong with an inquiry Bundle (P067)."""
    found = list(_shape(bundle))
    if found or bundle.entries[0].kind != "Claim":
        return found[:_MOST] or [_first()]
    found += _entries(bundle)
    found += inquiry_issues(bundle, version)
    found += _unresolved(bundle)
    for entry in bundle.entries:
        found += _modifiers(entry.resource, _at(entry), entry.kind)
    return found[:_MOST]


def refused(found: list[Issue]) -> bool:
    """Whether any finding is more than a warning."""
    return any(each.severity == "error" for each in found)


def _first() -> Issue:
    return Issue("P011", "structure", "the first entry must be a Claim", "Bundle.entry[0].resource", structure=True)


def _at(entry: Entry) -> str:
    return f"Bundle.entry[{entry.index}].resource"


def _shape(bundle: PasBundle) -> Iterator[Issue]:
    """P010: type, identifier, timestamp, entries with fullUrl and resource and nothing of other Bundle types."""
    raw = bundle.raw
    if raw.get("resourceType") != "Bundle":
        yield Issue("P010", "structure", "the body must be a Bundle", "Bundle", structure=True)
        return
    if raw.get("type") != "collection":
        yield Issue("P010", "value", "type must be collection", "Bundle.type", structure=True)
    if not identifier_of(raw.get("identifier")):
        yield Issue("P010", "required", "identifier needs system and value", "Bundle.identifier", structure=True)
    if not _INSTANT.fullmatch(word(raw.get("timestamp"))):
        text = "timestamp must be an instant with zone"
        yield Issue("P010", "required", text, "Bundle.timestamp", structure=True)
    if not bundle.entries:
        yield Issue("P010", "required", "the Bundle has no entry", "Bundle.entry", structure=True)
    yield from _members(bundle)


def _members(bundle: PasBundle) -> Iterator[Issue]:
    listed = bundle.raw.get("entry")
    for entry, held in zip(bundle.entries, listed if type(listed) is list else (), strict=False):
        where = f"Bundle.entry[{entry.index}]"
        if not _TYPE.fullmatch(entry.kind):
            yield Issue("P010", "structure", "an entry needs a resource", f"{where}.resource", structure=True)
        if not entry.url:
            yield Issue("P010", "required", "an entry needs a fullUrl", f"{where}.fullUrl", structure=True)
        for element in ("search", "request", "response"):
            if type(held) is dict and element in held:
                text = f"an entry of a collection has no {element}"
                yield Issue("P010", "structure", text, f"{where}.{element}", structure=True)


def _entries(bundle: PasBundle) -> Iterator[Issue]:
    """P012: what a fullUrl may be; equal ones; P014: the same thing twice."""
    for entry in bundle.entries:
        where = f"Bundle.entry[{entry.index}].fullUrl"
        if not (UUID4.fullmatch(entry.url) or _WEB.fullmatch(entry.url)):
            yield Issue("P012", "value", "fullUrl must be an http(s) URL, or urn:uuid: with a version-4 UUID", where)
    for held in bundle.by_url.values():
        for entry in held[1:]:
            yield Issue("P012", "duplicate", "this fullUrl stands twice", f"Bundle.entry[{entry.index}].fullUrl")
    seen: dict[tuple[str, str], Entry] = {}
    for entry in bundle.entries:
        for identifier in dicts(entry.resource.get("identifier")):
            key = entry.kind, identifier_of(identifier)
            if key[1] and entry.kind in {"Patient", "Organization", "Practitioner", "Coverage"}:
                first = seen.setdefault(key, entry)
                if first.index != entry.index and first.url != entry.url:
                    text = "two entries seem to be the same thing"
                    yield Issue("P014", "duplicate", text, _at(entry), "warning")


def _unresolved(bundle: PasBundle) -> Iterator[Issue]:
    """P013: whatever is reachable from the Claim is there once."""
    seen = {bundle.claim.index}
    waiting = [bundle.claim]
    while waiting:
        origin = waiting.pop()
        if origin.kind == "Bundle":
            continue  # DTR's Bundle of a form: its references are its own
        for path, text in references(origin.resource, _at(origin)):
            found = bundle.found(text, origin)
            if found is None or _of_replaced(origin, path):
                continue
            if len(found) != 1:
                why = "no entry has the fullUrl of this reference" if not found else "several entries are meant"
                lenient = origin.kind in _OPEN or (origin.kind == "Claim" and origin.index > 0) or _of_chart(path)
                severity = "warning" if lenient else "error"
                yield Issue("P013", "not-found" if not found else "multiple-matches", why, path, severity)
                continue
            if found[0].index not in seen:
                seen.add(found[0].index)
                waiting.append(found[0])


def _of_replaced(origin: Entry, path: str) -> bool:
    """P080: the Claim that an update replaces may itself replace one that is not sent."""
    return origin.kind == "Claim" and origin.index > 0 and ".related[" in path


_CHART = re.compile(
    r"\.(encounter|partOf|basedOn|context|performer|recorder|asserter|informationSource|author|source|managingOrganization"
    r"|generalPractitioner|serviceProvider|participant|insurance|hasMember|derivedFrom|specimen|device|custodian"
    r"|authenticator|valueReference|endpoint|location|contract|replaces|priorPrescription|priorRequest|recipient)\b"
)


def _of_chart(path: str) -> bool:
    """References of supporting resources to the rest of the chart: the Claim's own are at entry[0]."""
    return not path.startswith("Bundle.entry[0].") and bool(_CHART.search(path))


def _modifiers(value: Any, path: str, kind: str) -> Iterator[Issue]:
    """P017: a modifier extension that we do not know changes what is said."""
    if type(value) is dict:
        for number, each in enumerate(dicts(value.get("modifierExtension"))):
            known = each.get("url") == systems.INFO_CANCELLED and kind == "Claim"
            if not known:
                where = f"{path}.modifierExtension[{number}]"
                yield Issue("P017", "extension", "this modifier extension is not understood here", where)
        for key, below in value.items():
            if type(below) in {dict, list} and key not in {"text", "modifierExtension"}:
                yield from _modifiers(below, f"{path}.{key}", kind)
    elif type(value) is list:
        for number, below in enumerate(value):
            if type(below) in {dict, list}:
                yield from _modifiers(below, f"{path}[{number}]", kind)
