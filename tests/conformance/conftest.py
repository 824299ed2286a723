"""Hook calls through the whole use case, with the shipped guideline and without network."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cds_service.adapters.memory import MemoryStore
from cds_service.adapters.policy_files import load_configuration
from cds_service.clients import ClientProfile
from cds_service.domain.authorization import Authorization
from cds_service.ports import Caller, Fetched
from cds_service.use_cases.decide import Addresses, Rules, prepare
from cds_service.use_cases.order_sign import OrderSign

Sign = Callable[..., dict[str, Any]]


class FixedClock:
    """Always the same instant."""

    def now(self) -> datetime:
        return datetime(2026, 3, 2, 12, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


class Ehr:
    """An EHR that answers from a table, and remembers what it was asked."""

    def __init__(self) -> None:
        self.holds: dict[str, Fetched] = {}
        self.asked: list[str] = []
        self.otherwise = Fetched("complete")

    def fetch(self, grant: object, queries: Mapping[str, str], deadline: float) -> Mapping[str, Fetched]:
        del grant, deadline
        self.asked += queries.values()
        return {key: self.holds.get(query, self.otherwise) for key, query in queries.items()}


class Payer:
    """Our side: signs on to calls as one registered client."""

    def __init__(self, rules: Rules) -> None:
        self.store, self.ehr, self.incidents = MemoryStore(), Ehr(), []
        self.profile = ClientProfile(
            id="ehr",
            name="Sample EHR",
            issuer="https://ehr.example.org",
            fhir_servers=("https://ehr.example.org/fhir",),
        )
        count = itertools.count()
        self._use_case = OrderSign(
            rules=rules,
            reader=self.ehr,
            store=self.store,
            clock=FixedClock(),
            new_id=lambda: str(uuid.UUID(int=next(count))),
            key=b"k" * 32,
            incident=self.incidents.append,
        )
        self._tokens = itertools.count()

    def say(self, body: Mapping[str, Any], **how: Any) -> dict[str, Any]:
        """The response to one call; see ``say_bytes``."""
        return json.loads(self.say_bytes(body, **how))

    def say_bytes(
        self, body: Mapping[str, Any], *, jti: str = "", strict: bool = False, crd_version: str = "2.0"
    ) -> bytes:
        """The response as bytes; every call has a new token unless ``jti`` names one."""
        profile = msgspec.structs.replace(
            self.profile, jti="strict" if strict else "idempotent", crd_version=crd_version
        )
        caller = Caller(profile, jti or f"jti-{next(self._tokens)}", None)
        answer = self._use_case.answer(body["hook"], msgspec.json.encode(body), caller, "https://cds", started=0.0)
        assert not self.incidents, self.incidents
        return answer.body

    def grant(self, authorization: Authorization) -> None:
        """Put an authorization on file."""
        self.store.put_authorizations([(authorization, "")], datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def rules(project_root: Path) -> Rules:
    """The shipped configuration."""
    loaded = load_configuration(project_root / "config")
    addresses = Addresses(public_url="https://cds.example.org")
    return prepare(loaded.guidelines, loaded.vocabulary, loaded.payer, loaded.digest, addresses)


@pytest.fixture
def payer(rules: Rules) -> Payer:
    """Our side with an empty store."""
    return Payer(rules)
