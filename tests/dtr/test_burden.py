"""How much is left to answer: the sandbox's own patients, signed in the sandbox, against the real service."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.sql.migrate import migrate
from sandbox_ehr.app import Settings, create_app
from sandbox_ehr.cds_client import Answer
from sandbox_ehr.fhir_json import dumps
from sandbox_ehr.ordering import Ordering
from sandbox_ehr.patients import samples
from tests.support.dtr_calls import Dtr, answers, app_context, form_links, items, of_type, open_questions, packages
from tests.support.e2e_service import Service, running

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SAMPLES = samples(NOON.date())
# What the person at the form would say first: it shows the questions behind.
LEADING = {"noninvasive_trial_outcome": "failure", "intraspinal_trial_done": "yes"}


class Wire:
    """The sandbox's client for the service, without a socket between."""

    def __init__(self, service: Service) -> None:
        self.service = service
        with service.web.get("/cds-services") as response:
            self.services = {one["hook"]: one for one in response.get_json()["services"]}
        self.last: Any = None

    def service_for(self, hook: str) -> Mapping[str, Any]:
        return self.services[hook]

    def call(self, service_id: str, body: Mapping[str, Any]) -> Answer:
        sent = {name: value for name, value in body.items() if name not in {"fhirServer", "fhirAuthorization"}}
        self.last = self.service.post(dumps(sent).encode(), "2.2")
        text = self.last.bytes.decode()
        return Answer(self.last.status, text, json.loads(text), 1, {})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = tmp_path_factory.mktemp("burden") / "cds.sqlite3"
    migrate(f"sqlite:///{path}")
    with running(path, settings={"smart_app_url": "https://app.example.org"}) as started:
        yield started


@pytest.fixture(scope="module")
def ordering(service: Service, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ordering, Wire]:
    numbers = itertools.count(1)
    folder: Path = tmp_path_factory.mktemp("sandbox")

    def new_id() -> str:
        return f"00000000-0000-4000-8000-{next(numbers):012d}"

    app = create_app(
        Settings(folder, "http://ehr.test", "http://127.0.0.1:9", "http://127.0.0.1:9"), lambda: NOON, new_id
    )
    wire = Wire(service)
    made: Ordering = app.extensions["ordering"]
    made._client = _Client(wire)
    return made, wire


class _Client:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def service(self, hook: str) -> Mapping[str, Any]:
        return self.wire.service_for(hook)

    def call(self, service_id: str, body: Mapping[str, Any]) -> Answer:
        return self.wire.call(service_id, body)


class Asked:
    """What signing the sample's example order leads to."""

    def __init__(self, answer: Any, questionnaire: dict[str, Any], draft: dict[str, Any], determination: Any) -> None:
        self.answer, self.questionnaire, self.draft, self.determination = answer, questionnaire, draft, determination

    @property
    def missing(self) -> set[str]:
        return {fact for order in self.determination["orders"] for fact in order["missing_facts"]}


def form_of(ident: str, service: Service, ordering: tuple[Ordering, Wire]) -> Asked | None:
    """Questionnaire and draft of the sample's order; None where no form is asked for."""
    ordering[0].sign(ident, SAMPLES[ident].order)
    answer = ordering[1].last
    assert answer.status == (400 if ident == "other-payer" else 200), answer.bytes
    if answer.status == 400:  # another payer's member: CRD 2.2 asks for this status
        return None
    if not form_links(answer):
        return None
    context = app_context(answer)
    coverage = next(one for one in SAMPLES[ident].resources if one["resourceType"] == "Coverage")
    (found,) = packages(Dtr(service).package(coverage=[coverage], context=context["context"]))
    determination = service.get(f"/determinations/{context['context']}").json
    return Asked(answer, of_type(found, "Questionnaire")[0], of_type(found, "QuestionnaireResponse")[0], determination)


def answered_through(asked: Asked, request_type: str) -> list[str]:
    """Every question that somebody has to answer, one after the other, until nothing is open."""
    given = answers(asked.draft)
    done: list[str] = []
    while left := open_questions(asked.questionnaire, given):
        name = left[0]
        done.append(name)
        given[name] = LEADING.get(name, request_type if name == "request_type" else "yes")
        if name == "noninvasive_trial_weeks":
            given[name] = 10
    return done


@pytest.mark.parametrize(
    ("ident", "request_type", "most"),
    [("trial-facts-missing", "trial", 5), ("permanent-facts-missing", "permanent", 8)],
)
def test_PS18_the_trial_needs_at_most_five_answers_and_the_permanent_one_eight(
    ident: str, request_type: str, most: int, service: Service, ordering: tuple[Ordering, Wire]
) -> None:
    asked = form_of(ident, service, ordering)
    assert asked is not None
    todo = answered_through(asked, request_type)
    assert 0 < len(todo) <= most, todo


@pytest.mark.parametrize("ident", sorted(SAMPLES))
def test_PS15_a_fact_that_the_chart_settles_is_never_open(
    ident: str, service: Service, ordering: tuple[Ordering, Wire]
) -> None:
    """What is open at first is what the determination misses, or the rationale that it asks for; nothing else."""
    asked = form_of(ident, service, ordering)
    if asked is None:
        assert '"questionnaire"' not in ordering[1].last.bytes.decode()
        return
    open_now = set(open_questions(asked.questionnaire, answers(asked.draft)))
    assert open_now <= asked.missing | {"clinical_rationale_reason"}
    settled = {item["linkId"] for item in items(asked.draft) if item.get("answer")} - {"details_needed"}
    assert not settled & asked.missing


@pytest.mark.parametrize("ident", ["trial-facts-missing", "permanent-facts-missing"])
def test_PS15_what_the_chart_settled_is_filled_in_with_its_evidence(
    ident: str, service: Service, ordering: tuple[Ordering, Wire]
) -> None:
    asked = form_of(ident, service, ordering)
    assert asked is not None
    given = answers(asked.draft)
    assert given["systemic_opioid_included"] == "yes"
    assert given["systemic_opioid_fixed_schedule"] == "yes"
    for item in items(asked.draft):
        for answer in item.get("answer", ()):
            origins = [one for one in answer["extension"] if one["url"].endswith("/information-origin")]
            assert origins[0]["extension"] == [{"url": "source", "valueCode": "auto-server"}]
    (included,) = (item for item in items(asked.draft) if item["linkId"] == "systemic_opioid_included")
    evidence = [one for one in included["answer"][0]["extension"] if one["url"].endswith("/answer-evidence")]
    sources = {part["valueString"] for one in evidence for part in one["extension"] if part["url"] == "source"}
    held = {f"{one['resourceType']}/{one['id']}" for one in SAMPLES[ident].resources}
    assert sources
    assert sources <= held
