"""What of a chart belongs into one request: which signed orders, which finished forms, whose clinic. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from smart_app.dtr.context import Wanted, from_draft, from_order
from smart_app.pas.closure import Resource
from smart_app.pas.request import words_of
from smart_app.pas.systems import NPI, PAS, X12
from smart_app.sdc.response import EVIDENCE_URL

# Kinds of resources that may go along as evidence; a form that an answer came from goes as a form, if at all.
_EVIDENCE = re.compile(
    r"(?:MedicationRequest|MedicationStatement|MedicationDispense|Observation|Procedure|Condition|AllergyIntolerance)"
    r"/[A-Za-z0-9_.\-]{1,512}"
)
_ENCODE = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
SIGNED = frozenset({"active", "on-hold"})
FINISHED = frozenset({"completed", "amended"})


class Choice(msgspec.Struct, frozen=True):
    """A signed order that could be asked for. ``meant``: the launch, or its payer's answer, is about it."""

    order: Resource
    words: str
    meant: bool
    told: Wanted  # what the payer wrote on it

    @property
    def name(self) -> str:
        """Type and id."""
        return f"{self.order['resourceType']}/{self.order['id']}"

    @property
    def mark(self) -> str:
        """By which a page tells later whether the order is still what it showed."""
        content = {name: value for name, value in self.order.items() if name not in {"meta", "text"}}
        return sha256(_ENCODE(content)).hexdigest()[:16]


def choices(
    orders: Iterable[Resource], wanted: Wanted, host: str | None, medications: Mapping[str, Resource] | None = None
) -> tuple[Choice, ...]:
    """Signed orders that a payer has spoken about, or that the launch names; the newest first.

    Meant are those that the launch names, those whose coverage-information has the same assertion id, and, where the
    launch names none that is signed, the newest that was answered.
    """
    drafts = {name.rpartition("/")[2] for name in wanted.orders}
    found = []
    for order in sorted(orders, key=lambda each: str(each.get("authoredOn", "")), reverse=True):
        told = from_order(order, host)
        named = _ids(order) & drafts
        if order.get("status") not in SIGNED or not (told.assertion or named):
            continue
        same = bool(wanted.assertion) and told.assertion == wanted.assertion
        found.append(Choice(order, words_of(order, medications), bool(named) or same, told))
    if found and not any(each.meant for each in found):
        newest = found[0].told.assertion
        found = [
            msgspec.structs.replace(each, meant=each is found[0] or (bool(newest) and each.told.assertion == newest))
            for each in found
        ]
    together = {each.told.assertion for each in found if each.meant} - {""}
    return tuple(msgspec.structs.replace(each, meant=each.meant or each.told.assertion in together) for each in found)


def _ids(order: Mapping[str, Any]) -> set[str]:
    """Its id, and those that it had as a draft."""
    held = {str(each.get("value", "")) for each in _dicts(order.get("identifier"))}
    return (held | {str(order.get("id", ""))}) - {""}


class FormChoice(msgspec.Struct, frozen=True):
    """A finished form that could go along. ``meant``: it is about these orders, or nothing nearer to them is there."""

    response: Resource
    authored: str  # ISO day
    meant: bool

    @property
    def name(self) -> str:
        """Type and id."""
        return f"QuestionnaireResponse/{self.response['id']}"


def finished_forms(
    responses: Iterable[Resource], chosen: Sequence[Choice], coverage: str, host: str | None
) -> tuple[FormChoice, ...]:
    """Of each questionnaire the newest finished response about an order, asked for with one, or of the coverage.

    Those of the coverage alone are meant only where none is nearer: earlier answers on which the payer's word rests.
    """
    asked = {url.partition("|")[0] for each in chosen for url in each.told.questionnaires}
    ids = {ident for each in chosen for ident in _ids(each.order)}
    newest: dict[str, tuple[Resource, bool]] = {}
    for response in sorted(responses, key=lambda each: str(each.get("authored", ""))):
        if response.get("status") not in FINISHED:
            continue
        about = from_draft(response, host)
        url = _questionnaire(response).partition("|")[0]
        near = url in asked or bool(ids & {name.rpartition("/")[2] for name in about.orders})
        if near or (coverage and about.coverage == coverage):
            newest[url] = (response, near)
    anything_near = any(near for _, near in newest.values())
    return tuple(
        FormChoice(response, str(response.get("authored", ""))[:10], near or not anything_near)
        for response, near in newest.values()
    )


def _questionnaire(response: Mapping[str, Any]) -> str:
    """Its canonical; of an adaptive form that travels inside, the one that it was made from."""
    canonical = str(response.get("questionnaire", ""))
    if not canonical.startswith("#"):
        return canonical
    for held in _dicts(response.get("contained")):
        if held.get("id") == canonical[1:]:
            made_from = held.get("derivedFrom") or [held.get("url", "")]
            return str(made_from[0])
    return canonical


def evidence_of(responses: Iterable[Resource]) -> tuple[str, ...]:
    """Resources ("Type/id") that answers of these forms rest on, each once: nothing else of the chart goes along."""
    found: dict[str, None] = {}

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for each in value:
                walk(each)
        elif isinstance(value, dict):
            if value.get("url") == EVIDENCE_URL:
                for part in _dicts(value.get("extension")):
                    named = part.get("valueString") or (part.get("valueReference") or {}).get("reference")
                    if part.get("url") == "source" and named:
                        found.setdefault(str(named))
            for each in value.values():
                walk(each)

    for response in responses:
        walk(response.get("item"))
    return tuple(name for name in found if _EVIDENCE.fullmatch(name))


def organization(name: str, npi: str, ident: str) -> Resource:
    """The clinic as the registration of the EHR names it, where the EHR itself shows none."""
    return {
        "resourceType": "Organization",
        "id": ident,
        "meta": {"profile": [f"{PAS}profile-requestor"]},
        "identifier": [{"system": NPI, "value": npi}],
        "active": True,
        "type": [{"coding": [{"system": f"{X12}98", "code": "X3"}]}],
        "name": name,
    }


def npis(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """National provider identifiers of an Organization, Practitioner or PractitionerRole."""
    return tuple(
        str(each["value"])
        for each in _dicts(resource.get("identifier"))
        if each.get("system") == NPI and each.get("value")
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
