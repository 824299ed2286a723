"""What the use cases of prior authorization share, and one call of ``$submit``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.domain.authorization import Authorization
from cds_service.domain.prior_auth_rules import PriorAuthRules
from cds_service.fhir.pas.request import PasRequest
from cds_service.ports import Clock, NewId
from cds_service.prior_auth_ports import CaseStore, Subscriptions
from cds_service.use_cases.decide import Rules

MAX_BYTES = 10_485_760  # documents come along as base64


class PriorAuthParts(msgspec.Struct, frozen=True, kw_only=True):
    """Rules, stores and the outside world.

    ``on_file``: authorizations of a member, from wherever. ``destinations``: names of the payer endpoints that get the
    answers for a program. ``remembered``: what order-sign kept. ``key``: of keyed digests of people.
    """

    rules: Rules
    pas: PriorAuthRules
    cases: CaseStore
    subscriptions: Subscriptions
    on_file: Callable[[str], Sequence[Authorization]]
    clock: Clock
    new_id: NewId
    key: bytes
    destinations: Callable[[str], Sequence[str]]
    public_url: str
    max_bytes: int = MAX_BYTES
    remembered: Callable[[str], bytes | None] = lambda _ident: None  # documents of order-sign by id
    knows_reason: Callable[[str], bool] = lambda _code: True  # a decision reason of X12's list 886

    def base(self, version: str) -> str:
        """Address of the PAS server of a version."""
        return f"{self.public_url}/pas/{version}"


class Call(msgspec.Struct, frozen=True):
    """One call of ``$submit``; ``digest`` of its body, ``started`` by the monotonic clock."""

    request: PasRequest
    body: bytes
    digest: str
    caller: BackendCaller
    started: float
