"""What counts together, which limits hold where, and when a value looks like a slip of the unit."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest

from cds_service.domain.determination import DoseAssessment, Verdict
from cds_service.domain.dosing import assess, routes_alongside, table_applies
from cds_service.domain.limits import DoseTable, Limit
from cds_service.domain.vocabulary import RouteGroup
from tests.support.dose_setting import TABLE, drug, judged, order, q, rate, ratio, request

MORPHINE = [drug("morphine", 20)]


def _beside(other, *, draft=False, mine=None):
    """Verdict on 8 mg/d of morphine beside ``other``."""
    resource = mine or request(MORPHINE, [rate(8, "mg/d")])
    (result,) = assess(order(resource), [order(other, draft=draft)], TABLE).results
    return result


def _running(value=8, **more):
    return request(MORPHINE, [rate(value, "mg/d")], **{"name": "rx-1", "status": "active", **more})


class TestCumulation:
    @pytest.mark.parametrize(
        ("other", "counts", "why"),
        [
            (_running(), True, "an active intrathecal order of the same drug"),
            (_running(status="unknown"), True, "nobody says that it has ended"),
            (_running(status="on-hold"), False, "paused"),
            (_running(status="stopped"), False, "stopped"),
            (_running(status="completed"), False, "over"),
            (_running(status="cancelled"), False, "never started"),
            (_running(status="entered-in-error"), False, "never meant"),
            (_running(status="draft"), False, "somebody's unsigned order, not among those being signed"),
            (_running(route="epidural"), False, "epidural and intrathecal stay apart"),
            (_running(route="caudal"), False, "caudal is an epidural approach"),
            (_running(route="intravenous"), False, "other routes never count"),
            (_running(route="oral"), False, "tablets never count"),
            (_running(route=None), False, "most orders without route are tablets"),
            (_running(name="draft-1"), False, "the stored copy of the draft itself"),
            (_running(intent="proposal"), False, "proposed, not ordered"),
            (_running(doNotPerform=True), False, "an order not to give it"),
            (request([drug("baclofen", 2)], [rate(1, "mL/d")], name="rx-1", status="active"), False, "another drug"),
        ],
    )
    def test_which_active_orders_count(self, other, counts, why):
        result = _beside(other)
        assert result.daily == (16 if counts else 8), why
        assert result.orders == (("MedicationRequest/draft-1", "MedicationRequest/rx-1")[: 2 if counts else 1])

    def test_a_replaced_order_does_not_count(self):
        """A dose change replaces the running order: 15 instead of 8, not 23."""
        mine = request(MORPHINE, [rate(15, "mg/d")], priorPrescription={"reference": "MedicationRequest/rx-1"})
        result = _beside(_running(), mine=mine)
        assert (result.daily, result.daily_verdict) == (15, Verdict.WITHIN)

    def test_an_order_that_another_draft_replaces_does_not_count(self):
        """Whatever the route of the draft that replaces it: the switch to tablets ends the pump order too."""
        tablets = request(
            MORPHINE,
            [rate(1, "mg/d")],
            route="oral",
            name="draft-2",
            priorPrescription={"reference": "MedicationRequest/rx-1"},
        )
        mine = order(request(MORPHINE, [rate(8, "mg/d")]))
        (result,) = assess(mine, [order(tablets), order(_running(), draft=False)], TABLE).results
        assert result.daily == 8

    def test_a_running_order_that_names_a_prior_does_not_end_it(self):
        """Only a draft says what is being replaced now."""
        second = _running(4, name="rx-2", priorPrescription={"reference": "MedicationRequest/rx-1"})
        (result,) = judged(request(MORPHINE, [rate(1, "mg/d")]), _running(), second).results
        assert result.daily == 13

    def test_the_stored_copy_of_another_draft_does_not_count_twice(self):
        other = request(MORPHINE, [rate(2, "mg/d")], name="draft-2")
        stored = order(_running(2, name="draft-2"), draft=False)
        mine = order(request(MORPHINE, [rate(8, "mg/d")]))
        (result,) = assess(mine, [order(other), stored], TABLE).results
        assert result.daily == 10

    def test_an_order_seen_twice_counts_once(self):
        """Prefetch and a page of the chart may both hold it."""
        twice = [order(_running(), draft=False)] * 2
        (result,) = assess(order(request(MORPHINE, [rate(1, "mg/d")])), twice, TABLE).results
        assert result.daily == 9

    def test_other_drafts_count(self):
        result = _beside(request(MORPHINE, [rate(8, "mg/d")], name="draft-2"), draft=True)
        assert (result.daily, result.daily_verdict) == (16, Verdict.EXCEEDS)

    @pytest.mark.parametrize("route", ["epidural", "caudal"])
    def test_epidural_orders_cumulate_among_themselves_without_limit(self, route):
        mine = request(MORPHINE, [rate(100, "mg/d")], route="epidural")
        result = _beside(_running(route=route), mine=mine)
        assert (result.daily, result.daily_verdict, result.daily_limit) == (108, Verdict.NO_LIMIT_STATED, None)

    def test_a_neighbour_that_may_be_intrathecal_leaves_the_sum_unknown(self):
        """Intraspinal: it is not said which. 8 mg/d is known, whether 8 more join it is not."""
        result = _beside(_running(route="intraspinal"))
        assert (result.daily, result.daily_verdict) == (None, Verdict.CANNOT_BE_DETERMINED)

    def test_what_is_known_already_exceeds_beside_an_unknown_neighbour(self):
        mine = request(MORPHINE, [rate(16, "mg/d")])
        result = _beside(_running(route="intraspinal"), mine=mine)
        assert (result.daily, result.daily_verdict) == (16, Verdict.EXCEEDS)

    def test_a_running_order_of_an_unknown_drug_leaves_the_sum_unknown(self):
        """An active intrathecal order whose Medication cannot be found may hold the same drug."""
        other = {**_running(), "contained": []}
        result = _beside(other)
        assert (result.daily, result.daily_verdict) == (None, Verdict.CANNOT_BE_DETERMINED)
        assert "MedicationRequest/rx-1" in result.orders

    def test_a_running_order_with_a_name_but_no_code_leaves_the_sum_unknown(self):
        """A pain mix may hold morphine; a coded drug that the guideline does not name is not it."""
        uncoded = _running()
        uncoded["contained"][0]["ingredient"] = [{"itemCodeableConcept": {"text": "pain mix"}}]
        assert _beside(uncoded).daily_verdict is Verdict.CANNOT_BE_DETERMINED
        uncoded["contained"][0]["ingredient"][0]["itemCodeableConcept"] = {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6851"}]
        }
        assert _beside(uncoded).daily == 8

    def test_concentrations_are_never_summed(self):
        (result,) = judged(request(MORPHINE, [rate(1, "mg/d")]), _running(), _running(name="rx-2")).results
        assert result.concentration == 20

    def test_steps_say_which_order_adds_what(self):
        assert _beside(_running()).steps == (
            "8 mg/d",
            "MedicationRequest/rx-1: 8 mg/d",
            "8 mg/d + 8 mg/d = 16 mg/d",
        )

    def test_flags_of_a_neighbour_that_counts_are_told(self):
        unit = {"doseAndRate": [{"rateQuantity": {"value": 8, "unit": "mg/day"}}]}
        found = judged(
            request(MORPHINE, [rate(1, "mg/d")]),
            _running() | {"dosageInstruction": [unit | {"route": _running()["dosageInstruction"][0]["route"]}]},
        )
        assert [(flag.code, flag.subject) for flag in found.flags] == [("non_ucum_unit", "morphine")]


class TestRoutes:
    @pytest.mark.parametrize(
        ("route", "routes", "applies"),
        [
            (RouteGroup.INTRATHECAL, {RouteGroup.INTRATHECAL}, True),
            (RouteGroup.EPIDURAL, {RouteGroup.INTRATHECAL}, False),
            (RouteGroup.INTRASPINAL, {RouteGroup.INTRATHECAL}, None),
            (RouteGroup.INTRASPINAL, {RouteGroup.EPIDURAL}, None),
            (RouteGroup.INTRASPINAL, {RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL}, True),
            (RouteGroup.INTRASPINAL, {RouteGroup.SYSTEMIC}, False),
            (RouteGroup.SYSTEMIC, {RouteGroup.INTRATHECAL}, False),
            (None, {RouteGroup.INTRATHECAL}, None),
        ],
    )
    def test_where_a_table_holds(self, route, routes, applies):
        assert table_applies(route, frozenset(routes)) is applies

    @pytest.mark.parametrize("route", ["intraspinal", None])
    def test_an_unclear_route_asks_even_for_an_absurd_dose(self, route):
        """Not within, not exceeding: whether the table holds is the question."""
        (result,) = judged(request(MORPHINE, [rate(500, "mg/d")], route=route)).results
        assert (result.daily, result.daily_verdict, result.daily_limit) == (500, Verdict.CANNOT_BE_DETERMINED, None)
        assert result.concentration_verdict is Verdict.CANNOT_BE_DETERMINED

    def test_an_unclear_route_is_no_question_where_no_limit_is_stated_anyway(self):
        (result,) = judged(request([drug("sufentanil", 1)], [rate(1, "mL/d")], route="intraspinal")).results
        assert result.daily_verdict is Verdict.NO_LIMIT_STATED

    def test_no_limit_stated_even_when_nothing_is_known(self):
        """Fentanyl has no daily limit; an unreadable epidural order has none at all."""
        (fentanyl,) = judged(request([drug("fentanyl")], [{"text": "see sheet"}])).results
        assert (fentanyl.daily, fentanyl.daily_verdict) == (None, Verdict.NO_LIMIT_STATED)
        assert fentanyl.concentration_verdict is Verdict.CANNOT_BE_DETERMINED
        (morphine,) = judged(request([drug("morphine")], [{"text": "see sheet"}], route="epidural")).results
        assert morphine.daily_verdict is morphine.concentration_verdict is Verdict.NO_LIMIT_STATED

    def test_routes_alongside_names_what_may_count(self):
        drafts = [order(request(MORPHINE, [rate(1, "mL/d")])), order(request(MORPHINE, [], route=None))]
        # The one without a route may turn out, by an answer, to be epidural.
        assert routes_alongside(drafts) == {RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL, RouteGroup.INTRASPINAL}
        assert routes_alongside(drafts[:1]) == {RouteGroup.INTRATHECAL, RouteGroup.INTRASPINAL}
        assert routes_alongside([order(_running(route="oral"))]) == {RouteGroup.SYSTEMIC}


class TestUnitErrors:
    @pytest.mark.parametrize(
        ("name", "value", "suspected", "why"),
        [
            ("morphine", 15, False, "the limit itself"),
            ("morphine", 16, False, "above, but of the size of a dose"),
            ("morphine", "149.99", False, "just below ten times"),
            ("morphine", 150, True, "ten times: the factor is inclusive"),
            ("baclofen", 350, True, "350 mg where 350 ug is an ordinary dose"),
            ("baclofen", "19.9", False, "above, below ten times"),
            ("fentanyl", 5000, False, "no daily limit, so no multiple of it"),
        ],
    )
    def test_daily_amounts(self, name, value, suspected, why):
        value = Fraction(str(value))
        found = judged(request([drug(name, 1)], [rate(float(value) if value.denominator > 1 else int(value), "mg/d")]))
        assert found.results[0].unit_error is suspected, why
        assert (("possible_unit_error", name) in {(flag.code, flag.subject) for flag in found.flags}) is suspected

    @pytest.mark.parametrize(
        ("name", "strength", "suspected"),
        [("morphine", 31, False), ("morphine", 299, False), ("morphine", 300, True), ("fentanyl", 50, False)],
    )
    def test_concentrations(self, name, strength, suspected):
        """Fentanyl's printed limit equals the vial: 1000 times it is a warning, no suspicion."""
        (result,) = judged(request([drug(name, strength)], [rate(0.001, "mL/d")])).results
        assert result.concentration_verdict is Verdict.EXCEEDS
        assert result.unit_error is suspected

    def test_the_known_part_can_be_suspect(self):
        found = judged(request(MORPHINE, [rate(15, "g/d"), {"text": "see sheet"}])).results[0]
        assert (found.daily, found.unit_error) == (15_000, True)

    def test_an_exchange_of_units_is_suspected_where_it_gives_an_ordinary_dose(self):
        """A table with a wide factor: 400 times the limit is below it, but a thousandth is four tenths of the limit."""
        row = Limit(Fraction(2), None, Fraction(500), None, "made up")
        (low, high) = (
            assess(
                order(request([drug("baclofen", 2)], [rate(value, "mg/d")])),
                [],
                DoseTable({"baclofen": row}, frozenset({RouteGroup.INTRATHECAL}), exchange),
            ).results[0]
            for value, exchange in ((800, None), (800, Fraction(1000)))
        )
        assert (low.unit_error, high.unit_error) == (False, True)

    def test_no_factor_no_suspicion(self):
        row = Limit(Fraction(2), Fraction(2), None, None, "made up")
        table = DoseTable({"baclofen": row}, frozenset({RouteGroup.INTRATHECAL}), Fraction(1000))
        (result,) = assess(order(request([drug("baclofen", 2000)], [rate(800, "mg/d")])), [], table).results
        assert result.unit_error is False


class TestResults:
    def test_one_result_per_named_ingredient_of_the_orders_own_solution(self):
        """The neighbour's hydromorphone is judged with the neighbour; its bupivacaine adds to this order's."""
        mine = request(
            [drug("morphine", 10), drug("bupivacaine", 20), drug("sodium chloride", isActive=False)], [rate(1, "mL/d")]
        )
        other = request(
            [drug("hydromorphone", 5), drug("bupivacaine", 12)], [rate(1, "mL/d")], name="rx-1", status="active"
        )
        found = {result.ingredient: result for result in judged(mine, other).results}
        assert list(found) == ["morphine", "bupivacaine"]
        assert found["morphine"].orders == ("MedicationRequest/draft-1",)
        assert (found["bupivacaine"].daily, found["bupivacaine"].concentration) == (32, 20)
        assert found["bupivacaine"].rxcui == "1815"

    def test_the_same_drug_listed_twice_is_one_drug_in_the_syringe(self):
        (result,) = judged(request([drug("morphine", 10), drug("morphine", 25)], [rate(0.1, "mL/d")])).results
        assert (result.concentration, result.concentration_verdict, result.daily) == (
            35,
            Verdict.EXCEEDS,
            Fraction(7, 2),
        )

    def test_nothing_to_judge_without_a_drug_or_a_dose_order(self):
        assert assess(order({"resourceType": "DeviceRequest", "id": "p", "status": "draft"}), [], TABLE).results == ()
        assert judged({**request(MORPHINE, []), "contained": []}).results == ()
        assert judged(request(MORPHINE, [rate(8, "mg/d")], doNotPerform=True)) == DoseAssessment(())

    def test_flags_are_told_once(self):
        flags = judged(request(MORPHINE, [rate(8, "mg/d", doseAndRate=[{"doseQuantity": q(9, "mg/d")}])] * 2)).flags
        assert [(flag.code, flag.subject) for flag in flags] == [
            ("dose_shape_unusual", "morphine"),
            ("dose_exceeds", "morphine"),
        ]


class TestOtherGuideline:
    """The same engine under a made-up guideline: another drug, limits of its own, written for systemic routes."""

    TABLE = DoseTable(
        {"hydromorphone": Limit(Fraction(24), None, Fraction(4), None, "Example 3.1")},
        frozenset({RouteGroup.SYSTEMIC}),
        None,
    )

    @pytest.mark.parametrize(
        ("route", "verdict"),
        [
            ("oral", Verdict.EXCEEDS),
            ("intravenous", Verdict.EXCEEDS),
            ("intrathecal", Verdict.NO_LIMIT_STATED),
            ("intraspinal", Verdict.NO_LIMIT_STATED),
        ],
    )
    def test_limits_hold_for_the_tables_own_routes(self, route, verdict):
        """4 mg every 3 h is 32 mg/d; a neighbour by the same route group adds to it."""
        timing = {"repeat": {"frequency": 1, "period": 3, "periodUnit": "h"}}
        instruction = {"timing": timing, "doseAndRate": [{"doseQuantity": q(4, "mg")}]}
        tablets = request([drug("hydromorphone")], [instruction], route=route)
        (result,) = assess(order(tablets), [], self.TABLE).results
        assert (result.daily, result.daily_verdict) == (32, verdict)

    def test_orders_of_the_tables_routes_cumulate(self):
        mine = order(request([drug("hydromorphone")], [rate(16, "mg/d")], route="oral"))
        other = order(
            request([drug("hydromorphone")], [rate(80, "mg/d")], route="intravenous", name="rx-1", status="active"),
            draft=False,
        )
        (result,) = assess(mine, [other], self.TABLE).results
        assert (result.daily, result.unit_error) == (96, True)


def test_an_order_keeps_its_values_when_its_route_is_answered():
    """The questionnaire may settle the route; nothing else has to be read again."""
    asked = order(request(MORPHINE, [rate(16, "mg/d")], route="intraspinal"))
    answered = msgspec.structs.replace(asked, route=RouteGroup.INTRATHECAL)
    assert assess(answered, [], TABLE).results[0].daily_verdict is Verdict.EXCEEDS


def test_a_maximum_mass_on_a_mixture_limits_nothing_and_is_flagged():
    capped = rate(1, "mL/d", maxDosePerPeriod=ratio((1, "mg"), (1, "d")))
    found = judged(request([drug("morphine", 16), drug("bupivacaine", 20)], [capped]))
    assert [result.daily for result in found.results] == [16, 20]
    assert {(flag.code, flag.subject) for flag in found.flags} == {
        ("dose_shape_unusual", "morphine"),
        ("dose_shape_unusual", "bupivacaine"),
        ("dose_exceeds", "morphine"),
    }
