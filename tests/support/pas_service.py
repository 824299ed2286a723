"""The payer's side of PAS as its callers see it: whole calls through the web, on a real store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from werkzeug.test import Client

from cds_service.adapters.sql.cases import SqlCaseStore
from cds_service.adapters.sql.tables import METADATA
from cds_service.app import Adapters, prior_auth_parts
from cds_service.domain.prior_auth import Case, HumanDecision, LineDecision, Reviewer
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from cds_service.use_cases.settle_prior_auth import SettlePriorAuth
from tests.support import pas_bundles
from tests.support.e2e_service import NOON, Answer, Service, shipped

CLINIC = "http://hl7.org/fhir/sid/us-npi|1000000004"
PHYSICIAN = Reviewer("dr-1", "Dr. Ben Stone", "physician", "1000000020")
NURSE = Reviewer("nurse-1", "Cora Lake", "nurse")


def with_rules(**changes: Any) -> Any:
    """The shipped configuration with other choices for prior authorization."""
    usual = shipped()
    return msgspec.structs.replace(usual, prior_auth=msgspec.structs.replace(usual.prior_auth, **changes))


class _Registered(Service):
    """A service whose client is registered for organizations."""

    def __init__(self, database: Path, organizations: tuple[str, ...], settings: Mapping[str, Any]) -> None:
        self.organizations = organizations
        super().__init__(database, **settings)

    def _web(self, reader: Any) -> Client:
        for name, client in list(self.systems.items()):
            self.systems[name] = msgspec.structs.replace(client, organizations=self.organizations)
        return super()._web(reader)


class Pas:
    """One payer, and what its callers send. ``organizations`` of the registered client: the clinic of the samples."""

    def __init__(self, database: Path, *, organizations: tuple[str, ...] = (CLINIC,), **settings: Any) -> None:
        self.service = _Registered(database, organizations, settings)
        self.world = self._world()
        self.parts = self._parts()
        self.token = self.service.system_token()

    def _world(self) -> Any:
        service = self.service
        return Adapters(
            configuration=service.configuration,
            clients=service.clients,
            authenticator=None,  # type: ignore[arg-type]  # nobody calls a hook here
            store=service.sql,
            systems=service.systems_door,
            reader=None,  # type: ignore[arg-type]
            clock=service.clock,  # type: ignore[arg-type]
            key=b"k" * 32,
            readers={},
            metrics=service.metrics,
            writer=service.lines,  # type: ignore[arg-type]
        )

    def _parts(self) -> PriorAuthParts:
        parts = prior_auth_parts(self.service.settings, self.service.rules, self.world)
        assert parts is not None
        return parts

    @property
    def cases(self) -> SqlCaseStore:
        return self.parts.cases  # type: ignore[return-value]

    def send(
        self,
        path: str,
        body: Any,
        *,
        method: str = "POST",
        content_type: str = "application/fhir+json",
        token: str | None = None,
        **headers: str,
    ) -> Answer:
        """One call of any kind."""
        data = body if isinstance(body, bytes) else pas_bundles.encoded(body) if body is not None else b""
        given = {"Authorization": f"Bearer {self.token if token is None else token}", **headers}
        client = Client(self.service.application)
        with client.open(path, method=method, data=data, content_type=content_type, headers=given) as response:
            return Answer(response)

    def submit(self, bundle: Any, version: str = "2.2", **more: Any) -> Answer:
        return self.send(f"/pas/{version}/Claim/$submit", bundle, **more)

    def inquire(self, bundle: Any, version: str = "2.2", **more: Any) -> Answer:
        return self.send(f"/pas/{version}/Claim/$inquire", bundle, **more)

    def case_of(self, answer: Answer) -> Case:
        """The case that an answer belongs to."""
        case_id = claim_response(answer.json)["identifier"][0]["value"].rpartition(".")[0]
        case = self.cases.case(case_id)
        assert case is not None
        return case

    def settle(self, case: Case, *items: LineDecision, **more: Any) -> Any:
        """A physician decides."""
        decision = HumanDecision(
            case_id=case.id,
            version_seen=more.pop("version_seen", case.version),
            reviewer=more.pop("reviewer", PHYSICIAN),
            items=items,
            **more,
        )
        return SettlePriorAuth(self.parts).settle(decision)

    def rows(self, query: str) -> list[Any]:
        """What a query finds."""
        with self.service.sql.database.engine.connect() as connection:
            return list(connection.exec_driver_sql(query).all())

    def forget(self) -> None:
        """Empty every table, as the migrations left them, and go back to noon."""
        heads = "UPDATE audit_head SET seq = 0, hash = ''"
        kept = {"audit_head", "alembic_version"}
        with self.service.sql.database.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for table in reversed(METADATA.sorted_tables):
                if table.name not in kept:
                    connection.execute(table.delete())
            connection.exec_driver_sql(heads)
            connection.exec_driver_sql("COMMIT")
        self.service.clock.at = NOON
        self.token = self.service.system_token()

    def audit(self) -> list[tuple[str, str]]:
        """(action, subject) of every event, by time of writing within its chain."""
        return [(row.action, row.subject) for row in self.rows("SELECT * FROM audit_event ORDER BY at, chain, seq")]


def claim_response(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """The ClaimResponse of a response Bundle: the first entry."""
    resource = bundle["entry"][0]["resource"]
    assert resource["resourceType"] == "ClaimResponse", resource
    return dict(resource)


def actions(answer: Any) -> dict[int, str]:
    """Review action code by line."""
    bundle = answer.json if isinstance(answer, Answer) else json.loads(answer)
    return {item["itemSequence"]: action_of(item) for item in claim_response(bundle).get("item", [])}


def action_of(item: Mapping[str, Any]) -> str:
    """The code where PAS readers look for it."""
    return part(item, "extension-reviewActionCode")["valueCodeableConcept"]["coding"][0]["code"]


def part(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One sub-extension of the review action of an item."""
    for adjudication in item["adjudication"]:
        for extension in adjudication["extension"]:
            for each in extension["extension"]:
                if each["url"].endswith(name):
                    return dict(each)
    raise AssertionError(f"no {name}")


def extension(holder: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The extensions of PAS with that name."""
    return [each for each in holder.get("extension", []) if each["url"].endswith(f"extension-{name}")]


def notes(answer: Any) -> str:
    """All process notes in one text."""
    bundle = answer.json if isinstance(answer, Answer) else json.loads(answer)
    return " | ".join(each["text"] for each in claim_response(bundle).get("processNote", []))


@contextmanager
def serving(database: Path, **settings: Any) -> Iterator[Pas]:
    """One payer, closed in the end."""
    pas = Pas(database, **settings)
    try:
        yield pas
    finally:
        pas.service.close()


Starts = Callable[..., Pas]
