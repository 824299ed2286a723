"""References: which resource is meant, in one normal form, and never a place that a sender chose.

Normal forms: ``Type/id`` (relative, or absolute on the known host, version dropped), the URL itself without version
(another host), ``urn:uuid:...``, ``#id`` (contained). All else is no reference (reliability rows 69-71, 76-78).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

HOP_LIMIT = 5  # links followed from one resource to the next before giving up (row 77)

# Real ids exceed FHIR's 64 characters (Epic: 194) and use underscores; slashes, dots alone, % and ? never pass.
_LITERAL = re.compile(
    r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9_~\-][A-Za-z0-9_~.\-]{0,511})(?:/_history/[A-Za-z0-9_.\-]{1,64})?"
)
_URN = re.compile(r"urn:(?:uuid|oid):[A-Za-z0-9.\-]{1,128}")
_CONTAINED = re.compile(r"#[A-Za-z0-9_.\-]{1,256}")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def host_of(url: Any) -> str | None:
    """``host`` or ``host:port`` of an http or https URL, lower case, default ports left out; None: no such URL."""
    if type(url) is not str or not url.startswith(("http://", "https://")):
        return None
    return _host(url)


def server_host(url: str | None) -> str | None:
    """``host_of`` an EHR's base URL; kept, because a service has few EHRs and asks at every call."""
    return _kept_host(url) if url else None


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.password is not None:
        return None
    return parts.hostname if port is None or str(port) == _DEFAULT_PORTS[parts.scheme] else f"{parts.hostname}:{port}"


_kept_host = lru_cache(maxsize=1_024)(host_of)


def normal(reference: Any, host: str | None) -> str | None:
    """Normal form of a reference's text; None for what may not be followed. ``host`` is the EHR's (``host_of``).

    An absolute URL on that host becomes relative whatever its base path: clients name one server by several paths.
    """
    if type(reference) is not str:
        return None
    match = _LITERAL.fullmatch(reference)
    if match:
        return f"{match[1]}/{match[2]}"
    if reference.startswith(("http://", "https://")):
        return _absolute(reference, host)
    if reference.startswith("#"):
        return reference if _CONTAINED.fullmatch(reference) else None
    return reference.lower() if _URN.fullmatch(reference) else None


def _absolute(reference: str, host: str | None) -> str | None:
    there = host_of(reference)
    if there is None or ".." in reference or any(mark in reference for mark in "%?#\\ "):
        return None
    path = reference.split("/", 3)[3] if reference.count("/") > 2 else ""
    pieces = path.split("/")
    if len(pieces) >= 4 and pieces[-2] == "_history":
        pieces = pieces[:-2]
    match = _LITERAL.fullmatch("/".join(pieces[-2:]))
    if not match:
        return None
    if there == host:
        return f"{match[1]}/{match[2]}"
    return reference.split("/_history/", 1)[0]


def contained(reference: str, container: Any) -> dict[str, Any] | None:
    """The resource that ``#id`` names inside ``container`` (the outermost resource)."""
    name = reference[1:]
    held = container.get("contained") if type(container) is dict else None
    if type(held) is list:
        for resource in held:
            if type(resource) is dict and resource.get("id") in (name, reference):
                return resource
    return None
