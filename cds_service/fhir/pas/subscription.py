"""Subscriptions to PAS's topic: what may be asked for, and how it is shown (P061, P062)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import msgspec

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.dates import moment
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.issues import Issue

_FILTER: Final = re.compile(r"(?:[A-Za-z]+\?)?(?:org-identifier|orgIdentifier)=(\S+)")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}: ?[\x21-\x7e][\x20-\x7e]{0,1000}")
_OURS: Final = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "digest"})
_CONTENT: Final = f"{systems.BACKPORT}/backport-payload-content"
_CRITERIA: Final = f"{systems.BACKPORT}/backport-filter-criteria"
_PAYLOADS: Final = frozenset({"application/fhir+json", "application/json"})


class WantedNotices(msgspec.Struct, frozen=True):
    """What a Subscription asks for."""

    endpoint: str
    payload: str
    organizations: tuple[str, ...]
    header: tuple[str, ...]
    until: datetime | None
    off: bool = False


def read_subscription(resource: dict[str, Any]) -> tuple[WantedNotices, list[Issue]]:
    """What it asks for, and everything that is wrong with it."""
    found: list[Issue] = []
    channel = resource.get("channel")
    channel = channel if type(channel) is dict else {}
    if word(resource.get("criteria")) != systems.TOPIC:
        found.append(_issue("criteria must be the topic of PAS", "Subscription.criteria"))
    if channel.get("type") != "rest-hook":
        found.append(_issue("the channel must be rest-hook", "Subscription.channel.type"))
    endpoint = word(channel.get("endpoint"))
    if not endpoint:
        found.append(_issue("an endpoint is needed", "Subscription.channel.endpoint"))
    payload = word(channel.get("payload"))
    if payload not in _PAYLOADS:
        found.append(_issue("the payload must be application/fhir+json", "Subscription.channel.payload"))
    contents = [word(each.get("valueCode")) for each in _extensions(channel.get("_payload"), _CONTENT)]
    if contents != ["full-resource"]:
        text = "the payload content must be full-resource"
        found.append(_issue(text, "Subscription.channel.payload.extension"))
    organizations = _organizations(resource)
    if not organizations:
        found.append(_issue("a filter org-identifier= is needed", "Subscription.criteria.extension"))
    header = channel.get("header")
    lines = [word(each) for each in header] if type(header) is list else []
    if any(not _HEADER.fullmatch(each) or each.partition(":")[0].lower() in _OURS for each in lines):
        found.append(
            _issue("a header is a line Name: value, and none of the transport's own", "Subscription.channel.header")
        )
    return (
        WantedNotices(
            endpoint, payload, organizations, tuple(lines), moment(resource.get("end")), resource.get("status") == "off"
        ),
        found,
    )


def _organizations(resource: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for each in _extensions(resource.get("_criteria"), _CRITERIA):
        match = _FILTER.fullmatch(word(each.get("valueString")).strip())
        if match is None:
            return ()
        found += [part for part in match[1].split(",") if part]
    return tuple(dict.fromkeys(found))


def _extensions(holder: Any, url: str) -> list[dict[str, Any]]:
    held = holder.get("extension") if type(holder) is dict else None
    return [each for each in dicts(held) if each.get("url") == url]


def _issue(text: str, where: str) -> Issue:
    return Issue("P061", "value", text, where)


def subscription_resource(
    ident: str, wanted: WantedNotices, *, status: str, error: str = "", header_shown: bool = False
) -> dict[str, Any]:
    """The Subscription as it is shown; header lines may hold secrets and are not."""
    channel: dict[str, Any] = {
        "type": "rest-hook",
        "endpoint": wanted.endpoint,
        "payload": wanted.payload,
        "_payload": {"extension": [{"url": _CONTENT, "valueCode": "full-resource"}]},
    }
    if header_shown and wanted.header:
        channel["header"] = list(wanted.header)
    resource: dict[str, Any] = {
        "resourceType": "Subscription",
        "id": ident,
        "meta": {"profile": [f"{systems.DEFINITION}/profile-subscription"]},
        "status": status,
        "reason": "answers to prior authorization requests of this organization",
        "criteria": systems.TOPIC,
        "_criteria": {
            "extension": [{"url": _CRITERIA, "valueString": f"org-identifier={','.join(wanted.organizations)}"}]
        },
        "channel": channel,
    }
    if wanted.until is not None:
        resource["end"] = wanted.until.isoformat()
    if error:
        resource["error"] = error
    return resource
