"""The EHR's FHIR API as the user of one launch: read, search, save (SM-41, SM-42).

What cannot be seen is a value with a reason, so the form stays usable; only a permission that is gone for good ends the
launch, with ``Relaunch``. The token goes to the registered base and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode, urljoin

import msgspec

from cds_service.adapters.guarded_http import MAX_BYTES
from cds_service.errors import CdsServiceError
from cds_service.fhir import json as fhir_json
from cds_service.fhir.references import host_of, normal
from smart_app.adapters.outbound import Answer, Outbound, OutboundFailure, egress_to_ehr
from smart_app.errors import Relaunch
from smart_app.registry import EhrProfile, base_of

MOST_PAGES = 20
MOST_RESOURCES = 5_000
MOST_AT_ONCE = 6
_FHIR_JSON = "application/fhir+json"
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_NOT_UNDERSTOOD = frozenset({"http_400", "http_422", "http_501"})
_SAID_LINES, _SAID_LENGTH = 5, 300
_OF_FORM = frozenset({"_sort", "_count", "_include", "_revinclude", "_summary", "_elements"})

Resource = dict[str, Any]
Params = Mapping[str, str] | Iterable[tuple[str, str]]


class Seen(msgspec.Struct, frozen=True):
    """What one read or search showed.

    ``state``: ``complete``; ``partial`` (some is missing); ``absent`` (a read of something that is not there);
    ``denied`` (the user or the app may not see it); ``late``; ``failed``. ``why`` is a word of ours, not the EHR's.
    """

    state: str
    resources: tuple[Resource, ...] = ()
    why: str = ""
    etag: str = ""  # of a read

    @property
    def one(self) -> Resource | None:
        """The resource of a read, None where there is none."""
        return self.resources[0] if self.resources else None


class Saved(msgspec.Struct, frozen=True):
    """What became of a create or update.

    ``state``: ``saved``; ``conflict`` (it was changed elsewhere); ``refused`` (the EHR will not take it); ``failed``
    (``why`` says whether it may have been saved all the same: ``late``, ``disconnected``, ``broken_off``).
    """

    state: str
    resource: Resource | None = None
    id: str = ""
    etag: str = ""  # to give to the next update
    why: str = ""
    said: tuple[str, ...] = ()  # what the EHR's OperationOutcome says; shown escaped, never logged


class EhrClient:
    """Thread-safe. ``token`` gives an access token that is not the refused one it is given, or raises Relaunch."""

    def __init__(self, outbound: Outbound, profile: EhrProfile, token: Callable[[str], str]) -> None:
        """Calls nothing yet."""
        self.profile = profile
        self._outbound = outbound
        self._token = token
        self._base = base_of(profile.iss)
        self._egress = egress_to_ehr(profile)

    def read(self, reference: str) -> Seen:
        """One resource by ``Type/id``; a reference to another server is ``absent``, and nothing is asked (SM-41)."""
        own = normal(reference, host_of(self._base))
        if own is None or own.startswith(("http:", "https:", "urn:", "#")):
            return Seen("absent", why="elsewhere")
        try:
            answer = self._call("GET", f"{self._base}/{own}")
        except OutboundFailure as failure:
            return Seen("late" if failure.reason == "late" else "failed", why=failure.reason)
        if answer.status != 200:
            state = {403: "denied", 404: "absent", 410: "absent"}.get(answer.status, "failed")
            return Seen(state, why=f"http_{answer.status}")
        resource = _resource(answer.body)
        if resource is None or f"{resource['resourceType']}/{resource.get('id')}" != own:
            return Seen("failed", why="another_resource")
        return Seen("complete", (resource,), etag=_etag(answer, resource))

    def search(self, resource_type: str, params: Params) -> Seen:
        """Every match, over all pages on the EHR's own base.

        An EHR that refuses a parameter about the answer's form alone (its order, its size, what comes along) is asked
        once more without it: who is meant stays the same.
        """
        given = tuple(params.items() if isinstance(params, Mapping) else params)
        seen = self._search(resource_type, given)
        plain = tuple((name, value) for name, value in given if name.partition(":")[0] not in _OF_FORM)
        if seen.why in _NOT_UNDERSTOOD and not seen.resources and plain != given:
            return self._search(resource_type, plain)
        return seen

    def _search(self, resource_type: str, given: tuple[tuple[str, str], ...]) -> Seen:
        url = f"{self._base}/{resource_type}?{urlencode(given)}"
        found: list[Resource] = []
        whole = True
        for _ in range(MOST_PAGES):
            try:
                answer = self._call("GET", url)
            except OutboundFailure as failure:
                return _broken(found, "late" if failure.reason == "late" else "failed", failure.reason)
            bundle = _resource(answer.body) if answer.status == 200 else None
            if bundle is None or bundle["resourceType"] != "Bundle":
                state = "denied" if answer.status == 403 else "failed"
                return _broken(found, state, f"http_{answer.status}" if answer.status != 200 else "no_bundle")
            found += _matches(bundle)
            whole = whole and not _tells_trouble(bundle)
            following = _next(bundle, url)
            if following is None:
                return Seen("complete" if whole else "partial", tuple(found), "" if whole else "the_ehr_says_so")
            if len(found) >= MOST_RESOURCES:
                break
            url = following
        return Seen("partial", tuple(found), "too_many")

    def search_many(self, queries: Mapping[str, tuple[str, Params]]) -> Mapping[str, Seen]:
        """Several searches at once, by name. Raises Relaunch as each does."""
        if not queries:
            return {}
        with ThreadPoolExecutor(min(MOST_AT_ONCE, len(queries)), thread_name_prefix="ehr") as pool:
            running = {name: pool.submit(self.search, *query) for name, query in queries.items()}
            return {name: each.result() for name, each in running.items()}

    def create(self, resource: Resource, if_none_exist: str = "") -> Saved:
        """Save something new. ``if_none_exist`` is a search by which the EHR recognises that it has it already."""
        headers = {"If-None-Exist": if_none_exist} if if_none_exist else {}
        return self._save("POST", f"{self._base}/{resource['resourceType']}", resource, headers)

    def update(self, resource: Resource, etag: str) -> Saved:
        """Save over the version ``etag`` names; ``conflict`` where that is no longer the newest."""
        headers = {"If-Match": etag} if etag else {}
        return self._save("PUT", f"{self._base}/{resource['resourceType']}/{resource['id']}", resource, headers)

    def _save(self, method: str, url: str, resource: Resource, headers: Mapping[str, str]) -> Saved:
        more = {"Content-Type": _FHIR_JSON, "Prefer": "return=representation", **headers}
        try:
            answer = self._call(method, url, more, _ENCODER.encode(resource))
        except OutboundFailure as failure:
            return Saved("failed", why=failure.reason)
        told = _resource(answer.body)
        if answer.status in {200, 201, 204}:
            return self._versioned(_saved(answer, told, resource), resource["resourceType"])
        said = _said(told)
        if answer.status in {409, 412}:
            return Saved("conflict", why=f"http_{answer.status}", said=said)
        busy = answer.status >= 500 or answer.status in {408, 429}
        return Saved("failed" if busy else "refused", why=f"http_{answer.status}", said=said)

    def _versioned(self, saved: Saved, kind: str) -> Saved:
        """With the version that the next update names, read where the EHR's answer did not tell it (AP-21)."""
        if saved.etag or not saved.id:
            return saved
        try:
            return msgspec.structs.replace(saved, etag=self.read(f"{kind}/{saved.id}").etag)
        except Relaunch:  # the permission ended just now; what was saved is saved
            return saved

    def _call(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One call; after a 401 one more, with another token (SM-42). Raises OutboundFailure, Relaunch."""
        refused = ""
        for _ in range(2):
            token = self._token(refused)
            given = {"Accept": _FHIR_JSON, "Authorization": f"Bearer {token}", **(headers or {})}
            answer = self._outbound.send(method, url, self._egress, self.profile.read_seconds, given, body=body)
            if answer.status != 401:
                return answer
            refused = token
        raise Relaunch("refused_with_a_new_token")


def _resource(body: bytes) -> Resource | None:
    try:
        value = fhir_json.parse(body, max_bytes=MAX_BYTES)
    except CdsServiceError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("resourceType"), str) else None


def _etag(answer: Answer, resource: Resource | None) -> str:
    told = answer.headers.get("etag", "")
    if told:
        return told
    meta = (resource or {}).get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return f'W/"{version}"' if isinstance(version, str) else ""


def _saved(answer: Answer, told: Resource | None, sent: Resource) -> Saved:
    own = told if told is not None and told["resourceType"] == sent["resourceType"] else None
    ident = (own or {}).get("id")
    place, version = _id_in(answer.headers.get("location", ""), sent["resourceType"])
    if not isinstance(ident, str):
        ident = place or str(sent.get("id", ""))
    return Saved("saved", own, ident, _etag(answer, own) or version)


def _id_in(location: str, kind: str) -> tuple[str, str]:
    """``.../Type/id/_history/n`` -> ``id`` and the version as an ETag, "" where it is not in it."""
    pieces = location.split("/")
    ident = pieces[pieces.index(kind) + 1] if kind in pieces[:-1] else ""
    version = pieces[-1] if "_history" in pieces[-2:-1] else ""
    return ident, f'W/"{version}"' if ident and version else ""


def _entries(bundle: Resource) -> Iterator[tuple[Resource, str]]:
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
            search = entry.get("search")
            yield resource, search.get("mode", "") if isinstance(search, dict) else ""


def _matches(bundle: Resource) -> list[Resource]:
    return [each for each, mode in _entries(bundle) if mode != "outcome" and each["resourceType"] != "OperationOutcome"]


def _tells_trouble(bundle: Resource) -> bool:
    """Whether the EHR says within the answer that something of it is missing."""
    outcomes = [each for each, _ in _entries(bundle) if each["resourceType"] == "OperationOutcome"]
    return any(issue.get("severity") in {"error", "fatal"} for each in outcomes for issue in _issues(each))


def _issues(outcome: Resource) -> list[Resource]:
    issues = outcome.get("issue")
    return [each for each in issues if isinstance(each, dict)] if isinstance(issues, list) else []


def _said(outcome: Resource | None) -> tuple[str, ...]:
    if outcome is None or outcome["resourceType"] != "OperationOutcome":
        return ()
    lines = []
    for issue in _issues(outcome)[:_SAID_LINES]:
        details = issue.get("details")
        text = (details.get("text") if isinstance(details, dict) else None) or issue.get("diagnostics")
        if isinstance(text, str):
            lines.append(text[:_SAID_LENGTH])
    return tuple(lines)


def _next(bundle: Resource, current: str) -> str | None:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return urljoin(current, str(link["url"]))
    return None


def _broken(found: list[Resource], state: str, why: str) -> Seen:
    """A search that ended before its end: what came is kept and told to be partial."""
    return Seen("partial", tuple(found), why) if found else Seen(state, why=why)
