"""What a hook use case gives back to the web: the bytes, and the few words that logs and metrics may hold."""

from __future__ import annotations

import msgspec


class HookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answered hook call. Everything beside ``body`` is from closed lists or an id of the call: no PHI."""

    status: int
    body: bytes
    replayed: bool = False
    hook_instance: str = ""  # correlation of log lines, a UUID
    outcome: str = "full"  # as ports.Invocation.outcome
    path: str = "prefetch"  # "pull" when the EHR was read
    covered: tuple[str, ...] = ()  # `covered` of each coverage-information sent (cds-hooks-crd 193)
    rules: tuple[str, ...] = ()  # rule of each card sent
    dropped: tuple[str, ...] = ()  # why, of each resource that no rule may see (reliability 68): fhir.chart.Dropped
