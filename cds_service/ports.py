"""What the use cases need of the outside world. Adapters implement these; ``adapters/memory.py`` holds their twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from cds_service.clients import ClientProfile
from cds_service.domain.authorization import Authorization as Authorization  # noqa: PLC0414 - re-export for the adapters
from cds_service.domain.documentation import FormError as FormError  # noqa: PLC0414 - re-export for the adapters
from cds_service.domain.feedback import FeedbackEntry as FeedbackEntry  # noqa: PLC0414 - re-export for the adapters


class Clock(Protocol):
    """Wall clock for dates and tokens, steady clock for deadlines."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class NewId(Protocol):
    """Makes unique ids."""

    def __call__(self) -> str:
        """A new random UUID as text."""
        ...


class Caller(msgspec.Struct, frozen=True):
    """Who calls: the client whose signature was verified, and the token's own id and end (epoch seconds)."""

    profile: ClientProfile
    jti: str | None
    expires: int | None
    tenant: str | None = None


class Fetched(msgspec.Struct, frozen=True):
    """Outcome of one read or search at the EHR. ``resources`` holds matches and includes of all pages followed.

    ``state``: ``complete``; ``partial`` (more pages, entries or bytes than were read); ``absent`` (404 or 410 on a
    read); ``denied`` (401, 403, or outside the scopes); ``failed`` (anything else); ``late`` (deadline).
    """

    state: str
    resources: tuple[dict[str, Any], ...] = ()
    why: str = ""  # a word of a closed list, safe for logs and metrics


class Grant(msgspec.Struct, frozen=True):
    """What the EHR lends for one call: its FHIR base, token and scopes. Never stored, never logged."""

    base_url: str
    access_token: str | None
    scope: str
    profile: ClientProfile


class FhirReader(Protocol):
    """Reads of one EHR within one deadline, in parallel."""

    def fetch(self, grant: Grant, queries: Mapping[str, str], deadline: float) -> Mapping[str, Fetched]:
        """Answer every key of ``queries`` (reads "Type/id" or searches "Type?a=b"); ``deadline`` is monotonic."""
        ...


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One answered hook call, kept so that a dispute can be answered later (cds-hooks-crd 158, 192)."""

    id: str
    client: str
    service: str
    hook: str
    hook_instance: str
    jti: str | None
    jti_expires: int | None
    received: datetime
    request_digest: str  # sha256 of the body, hex
    policy_digest: str
    patient_key: str  # keyed digest, see use_cases.order_sign: no patient id is stored
    status: int
    response: bytes
    determinations: Sequence[tuple[str, bytes]] = ()  # (id, document); the id is the coverage-assertion-id's own
    cards: Sequence[tuple[str, str, str]] = ()  # (card uuid, rule, acknowledgement key)
    outcome: str = "full"  # full | partial | technical | refused | quiet
    prefetched: Sequence[str] = ()  # names of the prefetch keys that were sent, see cds_hooks.prefetch.sent_keys


class PrefetchSeen(msgspec.Struct, frozen=True):
    """Which prefetch keys one client sent lately: in how many of ``calls`` each was present."""

    calls: int
    keys: Mapping[str, int]


class Recalled(msgspec.Struct, frozen=True):
    """An earlier answer to the same call."""

    request_digest: str
    service: str
    response: bytes
    status: int
    by: str  # "jti" | "hookInstance"
    outcome: str = "full"  # as in Invocation


class FeedbackCount(msgspec.Struct, frozen=True):
    """How often the cards of one rule met with one outcome, for one override reason ("" where none was given)."""

    rule: str  # "" for feedback on a card that is not on record
    outcome: str  # accepted | overridden
    reason_system: str
    reason_code: str
    count: int


class Store(Protocol):
    """Memory of what was said. Every method is one transaction; failures raise StoreUnavailable."""

    def recall(self, client: str, jti: str | None, hook_instance: str, request_digest: str) -> Sequence[Recalled]:
        """Earlier answers to this client with this jti (any body), or with this hookInstance and this body."""
        ...

    def record(self, invocation: Invocation) -> Recalled | None:
        """Keep it. If another worker kept one for the same jti first, change nothing and give that one back."""
        ...

    def authorizations(self, member_id: str) -> Sequence[Authorization]:
        """All authorizations on file of one member."""
        ...

    def acknowledged(self, keys: Sequence[str], since: datetime, but_for: Sequence[str] = ()) -> frozenset[str]:
        """Those acknowledgement keys of which a card was overridden with a reason since then.

        ``but_for``: what was said to these cards (uuids) does not count.
        """
        ...

    def announced(self, keys: Sequence[str], but_for: Sequence[str] = ()) -> frozenset[str]:
        """Those keys of which a card "renew" was sent; ``but_for``: other cards (uuids) than these."""
        ...

    def save_feedback(self, client: str, service: str, entries: Sequence[FeedbackEntry], received: datetime) -> int:
        """Keep feedback; the number of entries whose card is known."""
        ...

    def feedback_report(self, since: datetime) -> Sequence[FeedbackCount]:
        """Feedback received since then, counted; by rule, outcome and reason in this order."""
        ...

    def prefetch_seen(self, client: str, since: datetime) -> PrefetchSeen:
        """What this client prefetched in its latest calls since then, 1,000 at most."""
        ...

    def determination(self, ident: str) -> bytes | None:
        """The document stored under this id; of several calls that made the same determination, the newest."""
        ...

    def note_access(self, reader: str, action: str, record: str, at: datetime) -> None:
        """Keep that ``reader`` did ``action`` (read, export, report ...) with a stored record (cds-hooks-crd 192)."""
        ...

    def put_authorizations(self, entries: Sequence[tuple[Authorization, str]], at: datetime) -> Sequence[str]:
        """Keep authorizations with the text that they came in as; one per source and number.

        Gives ``added``, ``changed``, ``unchanged`` or ``outdated`` (its source said something newer of it before, which
        stays) for each entry, in order. All of them are kept, or none.
        """
        ...

    def erase(self, what: str, before: datetime, most: int) -> int:
        """Remove up to ``most`` of the oldest things that came in before that instant; how many went.

        ``what``: ``comment`` (the text of feedback alone), ``invocation`` (with its determinations and cards),
        ``feedback``, ``access``, ``form_call``, ``form_error`` or ``form_result``.
        """
        ...

    def ping(self) -> None:
        """Raise StoreUnavailable unless reads work."""
        ...


class FormCall(msgspec.Struct, frozen=True, kw_only=True):
    """One DTR operation as its metrics need it (PS-39); nothing in it is about a patient."""

    at: datetime
    client: str
    operation: str  # qpackage | nextq | errors | expand
    version: str  # of DTR
    status: int  # of HTTP
    milliseconds: int
    context: str = ""  # the assertion id that was named
    questionnaires: int = 0
    items: int = 0  # questions sent
    outcome: str = ""  # a word of a closed list


class FormStore(Protocol):
    """Memory of what systems did with forms. Every method is one transaction; failures raise StoreUnavailable."""

    def use_assertion(self, client: str, jti: str, expires: int, now: int) -> bool:
        """Whether this is the first use of ``jti`` by that client; forgets those over at ``now`` (epoch seconds)."""
        ...

    def note_form_call(self, call: FormCall) -> None:
        """Keep the record of one operation."""
        ...

    def note_form_errors(self, client: str, errors: Sequence[FormError], at: datetime) -> None:
        """Keep what an app reported."""
        ...

    def keep_form_result(self, context: str, client: str, document: bytes, at: datetime) -> None:
        """Keep the determination of a completed form; a later one for the same context takes its place (PS-35)."""
        ...

    def form_result(self, context: str) -> bytes | None:
        """The determination of the latest completed form of that context."""
        ...


class PublishedKey(msgspec.Struct, frozen=True):
    """One key of a client's key set, as ``check-client`` shows it; never the key itself."""

    kid: str
    kind: str  # "RSA 2048", "EC P-384" ...
    algorithms: tuple[str, ...]  # those of ours that it can verify; empty: not usable
    why: str = ""  # when not usable: a word of a closed list


class KeySetReport(msgspec.Struct, frozen=True):
    """What one look at a client's key set found. ``state``: ``read``, or why it could not be (closed list)."""

    state: str
    keys: tuple[PublishedKey, ...] = ()


class KeyInspector(Protocol):
    """Looks at a client's key set now, past every cache (for ``check-client``)."""

    def inspect(self, profile: ClientProfile) -> KeySetReport:
        """Fetch or read the key set and judge every key in it."""
        ...
