"""Every row of the table of answers, from the request's bytes to the answer's, for both CRD versions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from cds_service.domain.authorization import Authorization
from cds_service.errors import StoreUnavailable
from cds_service.ports import Fetched
from tests.support import e2e_patient as patient
from tests.support.e2e_patient import answered, call, chart, coverage, of_program, order
from tests.support.e2e_service import VERSIONS, Answer, Service, Told, with_payer

NOTHING = b'{"cards":[]}'
WITH_PA = {"doc-needed": "clinical", "doc-purpose": "withpa"}
AUTH_NEEDED = {"covered": "covered", "pa-needed": "auth-needed"}
CONDITIONAL = {"covered": "conditional", "pa-needed": "conditional", "info-needed": "OTH"}
_OPTIONAL = ("doc-needed", "doc-purpose", "info-needed", "questionnaire", "satisfied-pa-id", "pa-needed")
LENT = {
    "fhirServer": "https://ehr.example.org/fhir",
    "fhirAuthorization": {
        "access_token": "made-up-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.read",
        "subject": "cds",
    },
}

Start = Callable[..., Service]


def told(answer: Answer, **expected: str) -> dict[str, Any]:
    """The one coverage-information; every part that the table does not name is absent."""
    answer.check()
    assert len(answer.actions) == 1
    found = answer.information()
    assert {name: found[name] for name in expected if name in found} == expected
    unexpected = {"questionnaire"} if "doc-needed" not in expected else set()
    assert {name for name in _OPTIONAL if name in found} <= expected.keys() | {"questionnaire"}
    assert not unexpected & found.keys()
    return found


def reason(answer: Answer, number: int = 0) -> str:
    """The words of the reason."""
    return answer.information(number)["reason"]["text"]


@pytest.mark.parametrize("version", VERSIONS)
class TestRowsBeforeAnyAnswer:
    """Without a Coverage that can answer there is no coverage-information."""

    def test_decisions_4_coverage_not_asked_for_is_412_and_names_the_key(self, service: Service, version: str) -> None:
        held = chart()
        del held["coverage"]
        answer = service.post(call(held=held), version)
        assert answer.status == 412
        assert answer.json["resourceType"] == "OperationOutcome"
        assert "prefetch.coverage" in str(answer.json["issue"])

    def test_decisions_4_coverage_unreadable_is_412(self, start: Start, version: str) -> None:
        held = chart()
        del held["coverage"]
        service = start(reader=Told(lambda _key, _query: Fetched("failed", (), "server_error")))
        answer = service.post(call(held=held, **LENT), version)
        assert answer.status == 412

    def test_decisions_4_missing_patient_is_no_error(self, service: Service, version: str) -> None:
        held = chart()
        del held["patient"]
        told(service.post(call(held=held), version), **AUTH_NEEDED)

    @pytest.mark.parametrize(
        "coverages",
        [
            pytest.param([], id="none"),
            pytest.param([coverage(payer="Example Mutual of Elsewhere")], id="foreign"),
            pytest.param([coverage(), coverage("cov-2", subscriberId="M-OTHER")], id="ambiguous"),
        ],
    )
    def test_decisions_4_no_single_coverage_of_ours(
        self, service: Service, version: str, coverages: list[dict[str, Any]]
    ) -> None:
        """2.2 has an error for it; 2.0.1 has none, so there the answer is empty (cds-hooks-crd 112)."""
        answer = service.post(call(held=chart(coverage=coverages)), version)
        if version == "2.2":
            assert answer.status == 400
            assert answer.json["issue"][0]["code"] == "not-found"
        else:
            assert (answer.status, answer.bytes) == (200, NOTHING)

    @pytest.mark.parametrize(
        "outside",
        [
            pytest.param(order(dosageInstruction=[patient.dosage(route="26643006")]), id="by mouth"),
            pytest.param(order(contained=[patient.medication(drug="6851")]), id="methotrexate into the spine"),
            pytest.param(patient.service_request("77061"), id="mammography"),
        ],
    )
    def test_decisions_4_outside_the_guideline_is_silent(
        self, service: Service, version: str, outside: dict[str, Any]
    ) -> None:
        answer = service.post(call(outside), version)
        assert (answer.status, answer.bytes) == (200, NOTHING)

    @pytest.mark.parametrize("place", ["IMP", "ACUTE", "EMER", "OBSENC", "SS"])
    def test_decisions_3_acute_care_is_silent(self, service: Service, version: str, place: str) -> None:
        """A labour epidural: the commonest neuraxial order there is, and not this guideline's subject."""
        labour = order(dosageInstruction=[patient.dosage(route="404820008")], reasonCode=[])
        held = chart(encounter=[patient.encounter(place)], conditions=[], questionnaireResponses=[])
        answer = service.post(call(labour, held=held), version)
        assert (answer.status, answer.bytes) == (200, NOTHING)

    def test_decisions_4_outside_can_be_said_where_the_payer_wants_it(self, start: Start, version: str) -> None:
        service = start(configuration=with_payer(outside_guideline="conditional"))
        answer = service.post(call(order(dosageInstruction=[patient.dosage(route="26643006")])), version)
        told(answer, **CONDITIONAL)
        assert answer.cards == []


@pytest.mark.parametrize("version", VERSIONS)
class TestRowsOfPrograms:
    """Whose rules apply comes before what they say."""

    @pytest.mark.parametrize(
        "changes",
        [{"period": {"start": "2025-01-01", "end": "2025-12-31"}}, {"status": "cancelled"}],
        ids=["out of period", "cancelled"],
    )
    def test_decisions_4_inactive_coverage_is_not_covered(
        self, service: Service, version: str, changes: dict[str, Any]
    ) -> None:
        answer = service.post(call(held=chart(coverage=[coverage(**changes)])), version)
        found = told(answer, covered="not-covered")
        codes = [coding["code"] for coding in found["reason"].get("coding", [])]
        assert codes == (["no-active-coverage"] if version == "2.2" else [])
        assert "not active" in found["reason"]["text"]

    @pytest.mark.parametrize("program", ["FEP", "SAO"])
    def test_decisions_4_other_programs_are_redirected(self, service: Service, version: str, program: str) -> None:
        answer = service.post(call(held=chart(coverage=[of_program(program)])), version)
        told(answer, **CONDITIONAL)
        assert f"the {program} guidelines apply" in reason(answer)
        assert f"the {program} guidelines apply" in str(answer.information()["detail"])
        assert len(answer.cards) == 1
        assert "|---|" not in answer.cards[0]["detail"]  # one line, no table of criteria

    @pytest.mark.parametrize("needed", ["conditional", "auth-needed"])
    def test_decisions_4_medicare_advantage_goes_to_a_person(self, start: Start, version: str, needed: str) -> None:
        service = start(configuration=with_payer(medicare_pa=needed))
        body = call(held=chart(coverage=[of_program("Medicare Advantage")]))
        answer = service.post(body, version)
        found = told(answer, **CONDITIONAL | WITH_PA | {"pa-needed": needed})
        assert found["questionnaire"].startswith("https://cds.example.org/fhir/Questionnaire/09-J1000-31|")
        assert "NCD 280.14" in reason(answer)
        assert "L31254" in answer.cards[0]["detail"]
        judged = service.determined(body)["orders"][0]
        assert judged["decision"] == "refer_medicare_policy"
        assert {each["status"] for each in judged["criteria"].values()} == {
            "met"
        }  # its facts are collected all the same


def on_file(**changes: Any) -> Authorization:
    """Intrathecal morphine up to 15 mg/d, this year."""
    usual: dict[str, Any] = {
        "number": "PA-77",
        "member_id": patient.MEMBER,
        "status": "active",
        "drugs": ("morphine",),
        "route": "intrathecal",
        "start": date(2026, 1, 1),
        "end": date(2026, 6, 30),
        "max_daily": {"morphine": "15 mg/d"},
        "quantity": "6 refills",
        "billing": ("J3490",),
    }
    return Authorization(**{**usual, **changes})


@pytest.mark.parametrize("version", VERSIONS)
class TestRowsOnFile:
    """What was settled before is reported, not asked for again."""

    def test_decisions_4_authorization_in_force_is_satisfied(self, service: Service, version: str) -> None:
        service.store.put_authorizations([(on_file(), "imported")], service.clock.now())
        answer = service.post(call(), version)
        found = told(answer, covered="covered", **{"pa-needed": "satisfied", "satisfied-pa-id": "PA-77"})
        assert answer.cards == []
        assert found.get("expiry-date") == ("2026-06-30" if version == "2.2" else None)
        detail = str(found["detail"])
        assert "2026-01-01" in detail
        assert "6 refills" in detail
        assert "J3490" in str(found["billingCode"])

    def test_authorization_that_ends_soon_is_told_once(self, service: Service, version: str) -> None:
        """Thirty days before its end the card says "renew"; the same draft again shows the same card, others none."""
        service.store.put_authorizations([(on_file(end=date(2026, 3, 31)), "imported")], service.clock.now())
        draft = call()
        [card] = service.post(draft, version).cards
        assert "renew" in card["summary"]
        assert "2026-03-31" in card["summary"]
        assert "PA-77" not in card["summary"]
        told(service.post(draft, version), **{"pa-needed": "satisfied", "satisfied-pa-id": "PA-77"})
        again = service.post(call(), version)
        assert [each["uuid"] for each in again.cards] == [card["uuid"]]
        later = service.post(call(patient.order(id="another-draft")), version)
        told(later, **{"pa-needed": "satisfied", "satisfied-pa-id": "PA-77"})
        assert later.cards == []

    @pytest.mark.parametrize(
        ("changes", "others"),
        [
            ({"end": date(2026, 4, 1)}, []),  # 30 days are left, so not yet
            ({"end": None}, []),
            ({"end": date(2026, 3, 31)}, [{"number": "PA-78", "start": date(2026, 4, 1), "end": date(2027, 3, 31)}]),
            ({"end": date(2026, 3, 31)}, [{"number": "PA-78", "status": "pending"}]),
        ],
        ids=["not yet", "open end", "its successor is on file", "its renewal is pending"],
    )
    def test_authorization_that_needs_no_renewal_now(
        self, service: Service, version: str, changes: dict[str, Any], others: list[dict[str, Any]]
    ) -> None:
        held = [(on_file(**each), "imported") for each in (changes, *others)]
        service.store.put_authorizations(held, service.clock.now())
        answer = service.post(call(), version)
        told(answer, **{"pa-needed": "satisfied", "satisfied-pa-id": "PA-77"})
        assert answer.cards == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"end": date(2026, 3, 1)},
            {"status": "revoked"},
            {"drugs": ("hydromorphone",)},
            {"max_daily": {"morphine": "0.9 mg/d"}},
            {"member_id": "M-SOMEBODY"},
        ],
        ids=["ended yesterday", "revoked", "another drug", "less than ordered", "another member"],
    )
    def test_decisions_4_authorization_that_does_not_cover_changes_nothing(
        self, service: Service, version: str, changes: dict[str, Any]
    ) -> None:
        service.store.put_authorizations([(on_file(**changes), "imported")], service.clock.now())
        told(service.post(call(), version), **AUTH_NEEDED)

    def test_decisions_4_pending_request_is_one_line_with_its_due_time(self, service: Service, version: str) -> None:
        pending = on_file(status="pending", due="2026-03-05T17:00:00Z")
        service.store.put_authorizations([(pending, "imported")], service.clock.now())
        answer = service.post(call(), version)
        told(answer, **AUTH_NEEDED)
        assert "pending" in reason(answer)
        assert "2026-03-05" in reason(answer)
        assert len(answer.cards) == 1
        assert "|---|" not in answer.cards[0]["detail"]


@pytest.mark.parametrize("version", VERSIONS)
class TestRowsOfTheGuideline:
    """The determination itself."""

    def test_decisions_4_route_that_cannot_be_told(self, service: Service, version: str) -> None:
        """An injection without a route may be neuraxial: nothing is presumed."""
        untold = order(dosageInstruction=[{"doseAndRate": [{"rateQuantity": patient.ucum("0.5", "mL/d")}]}])
        answer = service.post(call(untold, held=chart(conditions=[], questionnaireResponses=[])), version)
        told(answer, **CONDITIONAL)
        assert "route" in reason(answer)
        assert "route" in str(answer.information()["detail"])
        assert len(answer.cards) == 1

    def test_decisions_4_payer_that_cannot_be_told(self, service: Service, version: str) -> None:
        answer = service.post(call(held=chart(coverage=[coverage(payer="Insurance")])), version)
        told(answer, **CONDITIONAL)
        assert "payer or program" in reason(answer)

    def test_decisions_4_ready_to_submit(self, service: Service, version: str) -> None:
        answer = service.post(call(), version)
        told(answer, **AUTH_NEEDED)
        assert [card["indicator"] for card in answer.cards] == ["info"]
        assert "ready to submit" in answer.cards[0]["summary"]
        assert "denied" not in answer.bytes.decode().lower()

    def test_decisions_4_missing_facts_are_listed(self, service: Service, version: str) -> None:
        fewer = {**patient.TRIAL, "life_expectancy_ge_3_months": ""}
        body = call(held=chart(fewer))
        answer = service.post(body, version)
        found = told(answer, **AUTH_NEEDED | WITH_PA)
        assert found["questionnaire"] == patient.QUESTIONNAIRE
        assert "1 fact " in reason(answer)
        assert "1 answer needed" in answer.cards[0]["summary"]
        assert service.determined(body)["orders"][0]["missing_facts"] == ["life_expectancy_ge_3_months"]
        assert "life expectancy at least 3 months" in answer.cards[0]["detail"]

    @pytest.mark.parametrize(
        ("draft", "answers", "word"),
        [
            pytest.param(order("8"), {}, "16 mg/d", id="dose above the table"),
            pytest.param(order("0.25", "40"), {}, "40 mg/mL", id="concentration above the table"),
            pytest.param(order(), {"life_expectancy_ge_3_months": "no"}, "I.1", id="criterion not met"),
        ],
    )
    def test_decisions_4_rationale_is_needed(
        self, service: Service, version: str, draft: dict[str, Any], answers: dict[str, str], word: str
    ) -> None:
        answer = service.post(call(draft, held=chart({**patient.TRIAL, **answers})), version)
        told(answer, **AUTH_NEEDED | WITH_PA)
        assert "rationale" in reason(answer)
        assert word in reason(answer)
        assert [card["indicator"] for card in answer.cards] == (["info"] if answers else ["warning", "info"])

    @pytest.mark.parametrize("draft", [order("8"), order()], ids=["dose above the table", "criterion not met"])
    def test_decisions_4_rationale_on_file_goes_to_a_reviewer(
        self, service: Service, version: str, draft: dict[str, Any]
    ) -> None:
        expectancy = "yes" if draft == order("8") else "no"
        given = {
            "linkId": "clinical_rationale",
            "item": [
                {
                    "linkId": "clinical_rationale_reason",
                    "answer": [{"valueCoding": {"system": patient.ANSWERS, "code": "verified_chronic_regimen"}}],
                },
                {"linkId": "clinical_rationale_text", "answer": [{"valueString": "Stable for three years."}]},
            ],
        }
        form = answered({**patient.TRIAL, "life_expectancy_ge_3_months": expectancy})
        form["item"].append(given)
        answer = service.post(call(draft, held=chart(questionnaireResponses=[form])), version)
        told(answer, **AUTH_NEEDED)
        assert "reviewer" in reason(answer)

    def test_decisions_4_pa_required_no_is_advice_only(self, start: Start, version: str) -> None:
        service = start(configuration=with_payer(pa_required_by_plan={"PLAN-FREE": "no"}))
        free = coverage(**{"class": [{"type": {"text": "plan"}, "value": "PLAN-FREE"}]})
        answer = service.post(call(held=chart({}, coverage=[free])), version)
        told(answer, covered="covered", **{"pa-needed": "no-auth"})
        assert "No prior authorization" in answer.cards[0]["summary"]

    def test_decisions_4_pa_required_unknown_is_conditional(self, start: Start, version: str) -> None:
        service = start(configuration=with_payer(pa_required_by_plan={"PLAN-ASK": "unknown"}))
        asked = coverage(**{"class": [{"type": {"text": "plan"}, "value": "PLAN-ASK"}]})
        told(service.post(call(held=chart(coverage=[asked])), version), **CONDITIONAL)


def technical(answer: Answer, version: str) -> dict[str, Any]:
    """The answer that asserts nothing, in the words of the version (cds-hooks-crd 107, 148)."""
    if version == "2.0":
        return told(answer, **CONDITIONAL)
    found = told(answer, covered="indeterminate", **{"pa-needed": "indeterminate"})
    assert [coding["code"] for coding in found["reason"]["coding"]] == ["technical"]
    return found


class BrokenStore:
    """A store of which one method breaks as told."""

    def __init__(self, store: Any, method: str, error: Exception) -> None:
        self._store = store
        self._method = method
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            raise self._error
        return getattr(self._store, name)


@pytest.mark.parametrize("version", VERSIONS)
class TestTechnicalRows:
    """Trouble is said as trouble: never an empty answer, never an error at the prescriber, never a promise."""

    def test_decisions_4_failed_read_that_hides_the_drug(self, start: Start, version: str) -> None:
        reader = Told(lambda _key, _query: Fetched("failed", (), "server_error"))
        named = order(contained=[], medicationReference={"reference": "Medication/far"})
        untold = {**named, "dosageInstruction": [{"route": patient.dosage()["route"]}]}
        answer = start(reader=reader).post(call(untold, **LENT), version)
        technical(answer, version)
        assert reader.asked == [{"Medication/far": "Medication/far"}]

    def test_decisions_4_failed_read_that_hides_the_payer(self, start: Start, version: str) -> None:
        reader = Told(lambda _key, _query: Fetched("failed", (), "server_error"))
        unnamed = coverage(payor=[{"reference": "Organization/payer"}])
        answer = start(reader=reader).post(call(held=chart(coverage=[unnamed]), **LENT), version)
        technical(answer, version)

    def test_decisions_4_failed_read_that_leaves_a_criterion_open_is_missing_facts(
        self, start: Start, version: str
    ) -> None:
        held = chart()
        del held["questionnaireResponses"]
        service = start(reader=Told(lambda _key, _query: Fetched("failed", (), "server_error")))
        answer = service.post(call(held=held, **LENT), version)
        told(answer, **AUTH_NEEDED | WITH_PA)
        assert "not available" in reason(answer)

    @pytest.mark.parametrize("place", ["reader", "store"])
    def test_crd_148_our_own_bug_is_a_technical_answer_and_an_incident(
        self, start: Start, version: str, place: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        held = chart()
        bug = ZeroDivisionError("a made-up bug, about Ezra Example")
        if place == "reader":
            del held["conditions"]

            def broken(_key: str, _query: str) -> Fetched:
                raise bug

            service = start(reader=Told(broken))
        else:
            service = start(store=lambda store: BrokenStore(store, "authorizations", bug))
        with caplog.at_level(logging.ERROR):
            answer = service.post(call(held=held, **LENT), version)
        technical(answer, version)
        assert answer.cards == []
        assert [record.getMessage() for record in caplog.records] == ["incident"]
        assert b'cds_events_total{event="incident:zerodivisionerror"} 1.0' in service.metrics.text()
        assert service.last()["outcome"] == "technical"

    def test_decisions_4_503_where_no_coverage_can_be_named(self, start: Start, version: str) -> None:
        """An empty answer would say that nothing is required, which nobody has looked at."""

        def broken(_key: str, _query: str) -> Fetched:
            raise ZeroDivisionError

        held = chart()
        del held["coverage"]
        answer = start(reader=Told(broken)).post(call(held=held, **LENT), version)
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        assert answer.json["resourceType"] == "OperationOutcome"

    def test_decisions_4_bug_beside_orders_of_other_kinds_stays_silent(self, start: Start, version: str) -> None:
        """Nobody wants every lab order of a hospital answered because our store is down."""
        service = start(store=lambda store: BrokenStore(store, "recall", StoreUnavailable("made up")))
        tablets = order(dosageInstruction=[patient.dosage(route="26643006")])
        answer = service.post(call(tablets, patient.service_request("80053")), version)
        assert (answer.status, answer.bytes) == (200, NOTHING)

    @pytest.mark.parametrize("method", ["recall", "record", "authorizations"])
    def test_reliability_fault_18_what_cannot_be_written_down_is_not_asserted(
        self, start: Start, version: str, method: str
    ) -> None:
        service = start(store=lambda store: BrokenStore(store, method, StoreUnavailable("made up", reason="full")))
        answer = service.post(call(), version)
        technical(answer, version)
        assert answer.cards == []

    def test_reliability_fault_18_after_a_pull_the_coverage_that_was_read_is_named(
        self, start: Start, version: str
    ) -> None:
        held = chart()
        del held["coverage"]
        service = start(
            store=lambda store: BrokenStore(store, "record", StoreUnavailable("made up")),
            reader=Told(lambda _key, _query: Fetched("complete", (coverage(),))),
        )
        technical(service.post(call(held=held, **LENT), version), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_decisions_3_an_authorization_counts_for_its_own_member(service: Service, version: str) -> None:
    """Two orders on two memberships of one patient: the authorization of one does not cover the other."""
    service.store.put_authorizations([(on_file(), "imported")], service.clock.now())
    coverages = [coverage(order=1), coverage("cov-2", subscriberId="M-2", order=2)]
    drafts = [
        order(insurance=[{"reference": "Coverage/cov-e2e"}]),
        order(id="draft-two", insurance=[{"reference": "Coverage/cov-2"}]),
    ]
    answer = service.post(call(*drafts, held=chart(coverage=coverages)), version).check()
    assert [answer.information(number)["pa-needed"] for number in (0, 1)] == ["satisfied", "auth-needed"]


@pytest.mark.parametrize("version", VERSIONS)
def test_decisions_4_each_draft_gets_its_own_answer(service: Service, version: str) -> None:
    """A drug, its catheter and a lab order: two answers of one determination, silence for the third."""
    drafts = [order(), patient.service_request(), patient.service_request("80053", "sr-lab")]
    answer = service.post(call(*drafts, held=chart({**patient.TRIAL})), version).check()
    assert [action["resource"]["id"] for action in answer.actions] == ["draft-e2e", "sr-e2e"]
    ours = [answer.information(number) for number in (0, 1)]
    assert ours[0] == ours[1]
    assert len(answer.cards) == 1
    concerned = answer.cards[0]["extension"]["davinci-crd.associated-resource"]
    assert [each["reference"] for each in concerned] == ["MedicationRequest/draft-e2e", "ServiceRequest/sr-e2e"]


def test_crd_139_numbers_of_the_order_keep_their_digits(service: Service) -> None:
    """15.00 and 0.50000000000000000001 come back as they were written."""
    draft = order("0.50000000000000000001", "2.00")
    answer = service.post(call(draft))
    sent = patient.encode(draft)
    assert b"0.50000000000000000001" in sent
    assert sent[:-1] in answer.bytes
