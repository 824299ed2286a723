"""The gate's rules of what a Claim refers to (PAS rows P029, P032, P033)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cds_service.fhir.concepts import dicts, has_code
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, PasBundle, extensions
from cds_service.fhir.pas.issues import Issue

_MEMBER: Final = frozenset({"MB"})
_COUNTED: Final = {"repeat": {"count": 1}}  # no timing at all is no wrong one
_SELF: Final = frozenset({systems.SELF})


def support_issues(bundle: PasBundle, entry: Entry, version: str) -> Iterator[Issue]:
    """Everything wrong with one entry that is no Claim. Version 2.0.1 states none of these rules."""
    if version == "2.0.1":
        return
    where = f"Bundle.entry[{entry.index}].resource"
    if entry.kind == "Coverage":
        yield from _coverage(entry.resource, where)
    elif entry.kind == "DocumentReference" and _is_document(bundle, entry):
        yield from _document(entry.resource, where)
    elif entry.kind == "MedicationRequest" and _is_requested(bundle, entry):
        for number, dosage in enumerate(dicts(entry.resource.get("dosageInstruction"))):
            if "timing" in dosage:
                yield from _timing(dosage["timing"], f"{where}.dosageInstruction[{number}].timing")
    elif entry.kind in {"ServiceRequest", "DeviceRequest"} and _is_requested(bundle, entry):
        yield from _timing(entry.resource.get("occurrenceTiming", _COUNTED), f"{where}.occurrence")


def _coverage(coverage: dict[str, Any], where: str) -> Iterator[Issue]:
    """P033: the member's number, and whose policy it is."""
    if not any(has_code(each.get("type"), _MEMBER) for each in dicts(coverage.get("identifier"))):
        text = "a Coverage needs the member's identifier, type MB"
        yield Issue("P033", "required", text, f"{where}.identifier")
    if not has_code(coverage.get("relationship"), _SELF) and type(coverage.get("subscriber")) is not dict:
        text = "a Coverage names its subscriber unless the relationship is 18 (self)"
        yield Issue("P033", "invariant", text, f"{where}.subscriber")


def _is_document(bundle: PasBundle, entry: Entry) -> bool:
    """Whether the Claim sends it as a document: a DocumentReference of the chart is not held to it."""
    return any(
        bundle.one(info.get("valueReference"), bundle.claim) is entry
        for info in dicts(bundle.claim.resource.get("supportingInfo"))
    )


def _document(document: dict[str, Any], where: str) -> Iterator[Issue]:
    """P029: the content comes along; nothing is fetched."""
    contents = list(dicts(document.get("content")))
    if not contents:
        yield Issue("P029", "required", "a document needs content", f"{where}.content")
    for number, content in enumerate(contents):
        attachment = content.get("attachment")
        path = f"{where}.content[{number}].attachment"
        if type(attachment) is not dict or not attachment.get("data"):
            yield Issue("P029", "required", "a document must be in the Bundle: attachment.data", f"{path}.data")
        if type(attachment) is dict and "url" in attachment:
            yield Issue("P029", "structure", "a document is not fetched: attachment.url is not allowed", f"{path}.url")


def _is_requested(bundle: PasBundle, entry: Entry) -> bool:
    return any(
        bundle.one(each.get("valueReference"), bundle.claim) is entry
        for item in dicts(bundle.claim.resource.get("item"))
        for each in extensions(item, systems.REQUESTED_SERVICE)
    )


def _timing(timing: Any, where: str) -> Iterator[Issue]:
    """P032: how often, or a pattern."""
    held = timing if type(timing) is dict else {}
    patterns = ("timingcalendarpattern", "timingdeliverypattern")
    if any(extensions(held, systems.extension(name)) for name in patterns):
        return
    repeat = held.get("repeat")
    repeat = repeat if type(repeat) is dict else {}
    if "count" in repeat or all(name in repeat for name in ("frequency", "period", "periodUnit")):
        return
    text = "timing needs count, or frequency with period and periodUnit, or a calendar or delivery pattern"
    yield Issue("P032", "invariant", text, where)
