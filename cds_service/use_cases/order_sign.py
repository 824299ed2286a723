"""Answer a hook call: replay, fetch, decide, say, write down, in this order.

What was said is written down before it is sent: an answer that cannot be kept is not asserted (reliability 2.1).
Trouble of the EHR's or of ours ends in a technical answer with status 200, never in silence and never in an error
shown to the prescriber (cds-hooks-crd 107, 148).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import msgspec

from cds_service.cds_hooks.answers import coverage_usable, technical_answer
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.prefetch import WANTED, outstanding, sent_keys
from cds_service.cds_hooks.renewals import RENEWAL
from cds_service.cds_hooks.request import HookRequest, parse_request
from cds_service.cds_hooks.response import NOTHING, HookResponse, compose
from cds_service.cds_hooks.services import find_service
from cds_service.clients import registered_server
from cds_service.domain.digest import sha256_hex
from cds_service.errors import (
    CdsServiceError,
    NotAllowed,
    NotAuthenticated,
    PrefetchMissing,
    StoreUnavailable,
    Unanswerable,
)
from cds_service.ports import Caller, Clock, Fetched, FhirReader, Grant, Invocation, NewId, Recalled, Store
from cds_service.use_cases.decide import Reading, Rules, encode_determination, judge, read
from cds_service.use_cases.hook_answer import HookAnswer
from cds_service.use_cases.respond import Call, assert_coverage, may_concern, respond
from cds_service.use_cases.second_reads import lent_for, still_named

RESERVE_SECONDS = 0.6  # kept of the deadline for deciding, writing down and sending
DENIED = Fetched("denied", (), "scope")
_DISPATCHED = "context.dispatchedOrders"
_UNANSWERABLE = "no answer can be given at this moment; try again"


class Known(msgspec.Struct, frozen=True):
    """What was read for one call, dispatched orders included."""

    request: HookRequest
    fetched: Mapping[str, Fetched]
    reading: Reading


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer before it is written down, and what it rests on (None: nothing was read)."""

    response: HookResponse
    outcome: str
    path: str = "prefetch"
    dropped: tuple[str, ...] = ()
    determinations: tuple[tuple[str, bytes], ...] = ()
    known: Known | None = None


class OrderSign:
    """The use case. Thread-safe: nothing of a call is kept on it."""

    def __init__(
        self,
        *,
        rules: Rules,
        reader: FhirReader,
        store: Store,
        clock: Clock,
        new_id: NewId,
        key: bytes,
        incident: Callable[[BaseException], None],
    ) -> None:
        """``key`` makes keyed digests of patients; ``incident`` is told of every error of our own that was masked."""
        self._rules = rules
        self._reader = reader
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._key = key
        self._incident = incident

    def answer(self, service: str, body: bytes, caller: Caller, url: str, *, started: float) -> HookAnswer:
        """Answer one call.

        ``started`` is the monotonic instant of its arrival. Refusals are CdsServiceErrors: NotAuthenticated for a
        replayed jti, MalformedRequest, RuleBroken, PatientMismatch, NotAllowed, PrefetchMissing, CoverageNotUsable.
        """
        del url
        request = parse_request(body, service=find_service(service))
        digest = sha256_hex(body)
        strict = caller.profile.jti == "strict"
        said: Said | None = None
        try:
            earlier = self._store.recall(caller.profile.id, caller.jti, request.hook_instance, digest)
            replay = _replay(earlier, service, digest, strict=strict)
            said = _again(replay) if replay else self._say(request, caller, started)
            if replay is None or replay.by != "jti":  # every jti is written down, so that it is used for one body only
                first = self._store.record(self._invocation(request, caller, digest, said))
                if first is not None:  # another worker answered the same token meanwhile
                    replay = _replay([first], service, digest, strict=strict)
                    said = _again(replay) if replay else said
        except StoreUnavailable as error:
            self._incident(error)
            replay, said = None, self._technical(request, caller, said.known if said else None)
        return HookAnswer(
            status=replay.status if replay else 200,
            body=said.response.body,
            replayed=replay is not None,
            hook_instance=request.hook_instance,
            outcome=said.outcome,
            path=said.path,
            covered=said.response.covered,
            rules=tuple(card.rule for card in said.response.cards),
            dropped=said.dropped,
        )

    def _say(self, request: HookRequest, caller: Caller, started: float) -> Said:
        """The full answer, or the technical one where something of ours breaks.

        order-select is warm and quiet: it has opened what signing needs (keys, store), and no documentation is ever
        asked for on a secondary hook (cds-hooks-crd 101, 102).
        """
        if not request.service.primary:
            return Said(response=HookResponse(NOTHING), outcome="quiet")
        known: Known | None = None
        try:
            as_of = self._clock.now().date()
            known = self._read(request, caller, started, as_of)
            return self._decide(known, caller, as_of)
        except StoreUnavailable as error:
            self._incident(error)
        except CdsServiceError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours must not block an order; it is counted and logged
            self._incident(error)
        return self._technical(request, caller, known)

    def _decide(self, known: Known, caller: Caller, as_of: date) -> Said:
        request, reading = known.request, known.reading
        if request.dispatched and not request.drafts:
            raise PrefetchMissing("no dispatched order was prefetched or readable", expression=_DISPATCHED)
        version = request.version(caller.profile.crd_version)
        usable = [source for source, choice in reading.choices.items() if coverage_usable(choice, version)]
        members = {reading.choices[source].member_id for source in usable} - {""}
        on_file = [found for member in sorted(members) for found in self._store.authorizations(member)]
        judged = judge(self._rules, reading, as_of, on_file)
        document = encode_determination(self._rules, judged.values(), as_of)
        call = Call(request, caller.profile, reading, judged, version, as_of)
        response, kept = respond(call, usable, document, self._key, self._acknowledged)
        partial = any(seen.state in _INCOMPLETE for seen in known.fetched.values())
        return Said(
            response=response,
            outcome="quiet" if response.body == NOTHING else "partial" if partial else "full",
            path="pull" if known.fetched else "prefetch",
            dropped=_dropped(reading),
            determinations=tuple(kept) or ((self._new_id(), document),),
            known=known,
        )

    def _read(self, request: HookRequest, caller: Caller, started: float, as_of: date) -> Known:
        """Prefetch, then what it did not hold, then what those resources name; one deadline for all reads."""
        profile = caller.profile
        grant = _grant(request, caller)
        ask = outstanding(request, self._rules.published, aliases=profile.prefetch_aliases, open_fhir=profile.open_fhir)
        deadline = started + profile.deadline_seconds - RESERVE_SECONDS
        fetched: dict[str, Fetched] = dict.fromkeys(ask.denied, DENIED) if grant else {}
        wanted = dict(WANTED)
        if grant is not None:
            orders = _not_sent(request)
            wanted |= orders
            readable = lent_for(grant, orders)
            fetched |= dict.fromkeys(orders.keys() - readable, DENIED)
            queries = dict(ask.queries) | {name: name for name in readable}
            if queries:
                fetched |= self._reader.fetch(grant, queries, deadline)
                request = _with_dispatched(request, fetched)
        aliases = profile.prefetch_aliases
        reading = read(self._rules, request, fetched, as_of, aliases=aliases, wanted=wanted)
        more = still_named(reading.chart, request.drafts, fetched) if grant else {}
        if grant is None or not more:
            return Known(request, fetched, reading)
        refused = any(seen.why == "token_refused" for seen in fetched.values())  # not tried a second time (F4)
        readable = [] if refused else lent_for(grant, more)
        fetched |= dict.fromkeys(more.keys() - readable, DENIED)
        if readable:
            fetched |= self._reader.fetch(grant, {name: name for name in readable}, deadline)
        wanted |= more
        reading = read(self._rules, request, fetched, as_of, aliases=aliases, wanted=wanted)
        return Known(request, fetched, reading)

    def _acknowledged(self, keys: Sequence[str], shown: Sequence[str]) -> frozenset[str]:
        since = self._clock.now() - timedelta(days=self._rules.payer.quiet_days)
        renewals = [key for key in keys if key.startswith(RENEWAL)]
        announced = self._store.announced(renewals, shown) if renewals else frozenset()
        return self._store.acknowledged(keys, since, shown) | announced

    def _technical(self, request: HookRequest, caller: Caller, known: Known | None) -> Said:
        """The answer that asserts nothing, for the orders that may be ours to answer for (reliability 2.1 step 3).

        ``known``: what had been read before it went wrong; without it what was prefetched has to do.

        Raises:
            Unanswerable: not even that can be said, because no Coverage can be named; an empty answer would be false.
        """
        as_of = self._clock.now().date()
        version = request.version(caller.profile.crd_version)
        if known is None:
            known = self._prefetched(request, caller, as_of)
        request, reading = known.request, known.reading
        concerned = may_concern(self._rules, reading.orders)
        choices = {source: reading.choices[source] for source in concerned if source in reading.choices}
        unseen = any(choice.state == "not_readable" for choice in choices.values())
        if unseen or (request.dispatched and not request.drafts):
            raise Unanswerable(_UNANSWERABLE)
        usable = [source for source, choice in choices.items() if choice.state in _NAMED and choice.reference]
        answers = {each.order: each for each in technical_answer(usable, version)}
        drafts = {draft.source: draft for draft in request.drafts}
        call = Call(request, caller.profile, reading, {}, version, as_of)
        made, _ = assert_coverage(call, answers, drafts, self._new_id().encode())
        response = compose([], made, self._rules.guidelines[0].texts, version)
        return Said(response=response, outcome="technical", dropped=_dropped(reading), known=known)

    def _prefetched(self, request: HookRequest, caller: Caller, as_of: date) -> Known:
        try:
            reading = read(self._rules, request, {}, as_of, aliases=caller.profile.prefetch_aliases)
        except CdsServiceError:
            raise
        except Exception as error:
            self._incident(error)
            raise Unanswerable(_UNANSWERABLE) from error
        return Known(request, {}, reading)

    def _invocation(self, request: HookRequest, caller: Caller, digest: str, said: Said) -> Invocation:
        keyed = f"{caller.profile.id}\0{request.patient_id}".encode()
        return Invocation(
            id=self._new_id(),
            client=caller.profile.id,
            service=request.service.id,
            hook=request.service.hook,
            hook_instance=request.hook_instance,
            jti=caller.jti,
            jti_expires=caller.expires,
            received=self._clock.now(),
            request_digest=digest,
            policy_digest=self._rules.digest,
            patient_key=hmac.digest(self._key, keyed, "sha256").hex(),
            status=200,
            response=said.response.body,
            determinations=said.determinations,
            cards=tuple((card.uuid, card.rule, card.quiet_key) for card in said.response.cards),
            outcome=said.outcome,
            prefetched=sent_keys(request),
        )


_NAMED = frozenset({"ours", "unknown"})  # a Coverage that an answer can name
_INCOMPLETE = frozenset({"partial", "failed", "late", "denied"})
_encode_numbers = msgspec.json.Encoder(decimal_format="number").encode


def _replay(earlier: Sequence[Recalled], service: str, digest: str, *, strict: bool) -> Recalled | None:
    """The stored answer that this call repeats; raises NotAuthenticated where its jti was used for another one."""
    for each in earlier:
        if each.by == "jti":
            if strict or each.service != service or each.request_digest != digest:
                raise NotAuthenticated("jti_replayed")
            return each
    return next((each for each in earlier if each.service == service and not strict), None)


def _again(replay: Recalled) -> Said:
    return Said(response=HookResponse(replay.response), outcome=replay.outcome)


def _dropped(reading: Reading) -> tuple[str, ...]:
    return tuple([each.reason for each in reading.chart.dropped])


def _grant(request: HookRequest, caller: Caller) -> Grant | None:
    """What may be asked of the EHR; None where nothing was lent. Raises NotAllowed for a server not registered."""
    if request.fhir_server is None or caller.jti is None:  # an unauthenticated caller lends nothing
        return None
    if registered_server(caller.profile, request.fhir_server) is None:
        raise NotAllowed("this FHIR server is not registered for this client")
    lent = request.authorization
    if lent is None and not caller.profile.open_fhir:
        return None
    return Grant(request.fhir_server, lent.access_token if lent else None, lent.scope if lent else "", caller.profile)


def _not_sent(request: HookRequest) -> dict[str, str]:
    """Dispatched orders that prefetch does not hold, with their types."""
    held = {draft.source for draft in request.drafts}
    return {name: name.partition("/")[0] for name in request.dispatched if name not in held}


def _with_dispatched(request: HookRequest, fetched: Mapping[str, Fetched]) -> HookRequest:
    """The request with the dispatched orders that were read."""
    read_now = [
        Draft(resource, _encode_numbers(resource), "", name)
        for name in _not_sent(request)
        for resource in fetched.get(name, DENIED).resources[:1]
        if f"{resource.get('resourceType')}/{resource.get('id')}" == name
    ]
    return msgspec.structs.replace(request, drafts=(*request.drafts, *read_now)) if read_now else request
