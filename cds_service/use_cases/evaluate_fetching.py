"""``evaluate --fetch``: the determination of one request, with what prefetch lacks read at the EHR.

Reads go out only to a FHIR server that a registered client has settled, as in a hook call. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from cds_service.cds_hooks.prefetch import WANTED, outstanding
from cds_service.cds_hooks.request import HookRequest, parse_request
from cds_service.cds_hooks.services import ORDER_SIGN
from cds_service.clients import ClientProfile, registered_server
from cds_service.ports import Clock, Fetched, FhirReader, Grant
from cds_service.use_cases.decide import Rules, encode_determination, judge, read
from cds_service.use_cases.second_reads import still_named


class EvaluateFetching:
    """The use case; one instance for many requests."""

    def __init__(self, rules: Rules, reader: FhirReader, clients: Iterable[ClientProfile], clock: Clock) -> None:
        self._rules = rules
        self._reader = reader
        self._clients = tuple(client for client in clients if client.enabled)
        self._clock = clock

    def __call__(self, body: bytes, as_of: date) -> bytes:
        """The determination document. Raises as ``decide.evaluate_document``; a failed read is no error."""
        request = parse_request(body, service=ORDER_SIGN)
        grant = self._grant(request)
        aliases = grant.profile.prefetch_aliases if grant else {}
        fetched: dict[str, Fetched] = {}
        wanted = dict(WANTED)
        if grant is not None:
            deadline = self._clock.monotonic() + grant.profile.deadline_seconds
            open_fhir = grant.profile.open_fhir
            queries = outstanding(request, self._rules.published, aliases=aliases, open_fhir=open_fhir).queries
            fetched |= self._reader.fetch(grant, queries, deadline)
            reading = read(self._rules, request, fetched, as_of, aliases=aliases)
            named = still_named(reading.chart, request.drafts, fetched)
            fetched |= self._reader.fetch(grant, {name: name for name in named}, deadline)
            wanted |= named
        reading = read(self._rules, request, fetched, as_of, aliases=aliases, wanted=wanted)
        return encode_determination(self._rules, judge(self._rules, reading, as_of).values(), as_of)

    def _grant(self, request: HookRequest) -> Grant | None:
        if request.fhir_server is None:
            return None
        lent = request.authorization
        for client in self._clients:
            if registered_server(client, request.fhir_server) is not None and (lent or client.open_fhir):
                token, scope = (lent.access_token, lent.scope) if lent else (None, "")
                return Grant(request.fhir_server, token, scope, client)
        return None
