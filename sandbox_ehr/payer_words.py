"""A received ClaimResponse in plain words: whom it is about, and what was decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.payer_inbox import Received

_PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
_REVIEW_ACTION = f"{_PAS}/extension-reviewAction"
_ACTION_CODE = f"{_PAS}/extension-reviewActionCode"

# The review actions that PAS's public examples show; the licensed list is not part of the sandbox.
_WORDS = {
    "A1": "Approved",
    "A3": "Not approved",
    "A4": "Waits for a reviewer",
    "A6": "Approved with a change",
    "C": "Cancelled",
}


class Decision(msgspec.Struct, frozen=True):
    """One row of the page. Times are ISO instants of receipt; ``words`` are one for all lines, or one for each."""

    ident: str
    patient: str
    words: tuple[str, ...]
    number: str  # of the authorization, or ""
    said: str  # the payer's own sentence, or ""
    first: str
    last: str
    times: int
    version: int


def decision(received: Received, name_of: Callable[[str], str]) -> Decision:
    """What to show of one, whatever came. ``name_of`` gives the name behind a patient's reference, or ""."""
    body = received.resource
    return Decision(
        ident=str(body["id"]),
        patient=_patient(body.get("patient"), name_of),
        words=_words(body),
        number=_text(body.get("preAuthRef")),
        said=_text(body.get("disposition")),
        first=received.first,
        last=received.last,
        times=received.times,
        version=received.version,
    )


def _patient(reference: Any, name_of: Callable[[str], str]) -> str:
    held = reference if isinstance(reference, dict) else {}
    address = _text(held.get("reference"))
    return name_of(address) or _text(held.get("display")) or address or "not said"


def _words(body: Resource) -> tuple[str, ...]:
    """Line by line where the lines differ, once where they do not."""
    if body.get("status") == "cancelled":
        return ("Cancelled",)
    lines = [_line(item) for item in _objects(body.get("item"))]
    if not lines:
        return ("Nothing decided: an error" if body.get("outcome") == "error" else "No line",)
    if len(set(lines)) > 1:
        return tuple(f"Line {number}: {words}" for number, words in enumerate(lines, 1))
    return (lines[0] if len(lines) == 1 else f"{lines[0]} ({len(lines)} lines)",)


def _line(item: Mapping[str, Any]) -> str:
    codes = [code for one in _objects(item.get("adjudication")) for code in _actions(one)]
    return ", ".join(_WORDS.get(code, f"Review action {code}") for code in codes) or "Not said"


def _actions(adjudication: Mapping[str, Any]) -> Iterator[str]:
    for action in _objects(adjudication.get("extension")):
        for part in _objects(action.get("extension")) if action.get("url") == _REVIEW_ACTION else ():
            concept = part.get("valueCodeableConcept")
            if part.get("url") == _ACTION_CODE and isinstance(concept, dict):
                yield from (_text(coding.get("code")) for coding in _objects(concept.get("coding")))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
