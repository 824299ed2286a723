"""What an EHR's answers to a read or a search mean (reliability 73, 88; faults F4-F6, F9-F12). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import msgspec

from cds_service.adapters.guarded_http import Egress, within
from cds_service.clients import normal_base
from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from cds_service.ports import Fetched

MAX_PAGES = 10
MAX_ENTRIES = 2_000
_QUERY = re.compile(r"([A-Z][A-Za-z]{1,63})(?:/([A-Za-z0-9._~-]{1,256})|\?([\x21-\x7e]{1,8000}))")


class Query(msgspec.Struct, frozen=True):
    """One read (``ident``) or search (``ident`` is None) below a FHIR base."""

    text: str
    resource_type: str
    ident: str | None


class Page(msgspec.Struct, frozen=True):
    """What one page of a search gave. ``why``: empty, or what makes the page incomplete."""

    resources: tuple[dict[str, Any], ...]
    next_url: str | None
    why: str = ""


def read_query(text: str) -> Query | None:
    """``Type/id`` or ``Type?a=b``; None for everything else, traversal and fragments included (row 78)."""
    found = _QUERY.fullmatch(text)
    if found is None or "#" in text or (found[2] is not None and not found[2].strip(".")):
        return None
    return Query(text, found[1], found[2])


def resource_of(body: bytes, query: Query, max_bytes: int) -> Fetched:
    """The resource that was asked for by a read; another one is discarded (row 73)."""
    resource = _parsed(body, max_bytes)
    if not isinstance(resource, dict):
        return Fetched("failed", (), "not_json")
    if resource.get("resourceType") != query.resource_type or resource.get("id") != query.ident:
        return Fetched("failed", (), "other_resource")
    return Fetched("complete", (resource,))


def page_of(body: bytes, query: Query, max_bytes: int) -> Page | Fetched:
    """One page of a search, or why it is none."""
    bundle = _parsed(body, max_bytes)
    if not isinstance(bundle, dict):
        return Fetched("failed", (), "not_json")
    entries = bundle.get("entry", [])
    if bundle.get("resourceType") != "Bundle" or bundle.get("type", "searchset") != "searchset":
        return Fetched("failed", (), "not_a_bundle")
    if not isinstance(entries, list):
        return Fetched("failed", (), "not_a_bundle")
    resources: list[dict[str, Any]] = []
    why = ""
    for entry in entries:
        resource, complaint = _entry(entry, query)
        why = why or complaint
        if resource is not None:
            resources.append(resource)
    return Page(tuple(resources), _next_link(bundle), why)


def next_page(link: str, base_url: str, egress: Egress) -> str | None:
    """The address of the next page if it stays below the FHIR base (row 88); a relative one starts at the base."""
    if not link or not link.isascii() or not link.isprintable() or "\\" in link:
        return None
    base = urlsplit(base_url)
    try:
        parts = urlsplit(urljoin(base_url + "/", link))
    except ValueError:
        return None
    if normal_base(f"{parts.scheme}://{parts.netloc}") != normal_base(f"{base.scheme}://{base.netloc}"):
        return None
    # The origin is written as registered: another spelling of it (`:443`, capitals) is the same server.
    url = urlunsplit((base.scheme, base.netloc, parts.path, parts.query, parts.fragment))
    return url if within(url, egress) else None


def _parsed(body: bytes, max_bytes: int) -> Any:
    try:
        return parse(body, max_bytes=max_bytes)
    except CdsServiceError:
        return None


def _entry(entry: object, query: Query) -> tuple[dict[str, Any] | None, str]:
    """The resource of an entry if it belongs to the result, and what the entry says against completeness."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(resource, dict):
        return None, "entry_without_resource"
    search = entry.get("search")
    mode = search.get("mode") if isinstance(search, dict) else None
    kind = resource.get("resourceType")
    if kind == "OperationOutcome" or mode == "outcome":
        return None, "" if _is_information(resource) else "outcome_in_bundle"
    if not isinstance(kind, str) or (mode == "match" and kind != query.resource_type):
        return None, "other_resource"
    return resource, ""


def _is_information(outcome: Mapping[str, Any]) -> bool:
    """Whether an OperationOutcome only informs; a warning may say that entries are withheld, as real servers do."""
    issues = outcome.get("issue")
    return isinstance(issues, list) and all(
        isinstance(issue, dict) and issue.get("severity") == "information" for issue in issues
    )


def _next_link(bundle: Mapping[str, Any]) -> str | None:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next":
            url = link.get("url")
            return url if isinstance(url, str) else ""
    return None
