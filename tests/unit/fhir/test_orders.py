"""MedicationRequest, ServiceRequest and DeviceRequest as orders: what is in it, where it goes, and nothing guessed."""

from __future__ import annotations

import copy
from datetime import date
from fractions import Fraction
from random import Random

import pytest

from cds_service.domain.dosing import assess
from cds_service.domain.order import OrderKind
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import RouteGroup
from cds_service.fhir.orders import may_cumulate, read_order
from tests.support.dose_setting import (
    RXNORM,
    SNOMED,
    TABLE,
    VOCABULARY,
    drug,
    order,
    parsed,
    q,
    rate,
    ratio,
    request,
    resolve,
)
from tests.support.random_orders import Orders

INFUMORPH = {"system": RXNORM, "code": "1731998", "display": "Infumorph 10 mg/mL"}
SODIUM_CHLORIDE = {"system": RXNORM, "code": "9863"}


def _route(*codings, text=None):
    return {"coding": list(codings)} | ({"text": text} if text else {})


def _snomed(code):
    return {"system": SNOMED, "code": code}


def _coded(*codings, text=None, instructions=None, **more):
    return {
        "resourceType": "MedicationRequest",
        "id": "draft-1",
        "status": "draft",
        "intent": "order",
        "medicationCodeableConcept": _route(*codings, text=text),
        "dosageInstruction": instructions or [{**rate(1, "mL/d"), "route": _route(_snomed("72607000"))}],
        **more,
    }


class TestStrengths:
    @pytest.mark.parametrize(
        ("strength", "amount", "expected", "why"),
        [
            (ratio((20, "mg"), (1, "mL")), None, 20, "mg per mL"),
            (ratio((600, "mg"), (20, "mL")), None, 30, "total per volume"),
            (ratio((0.6, "g"), (20, "mL")), None, 30, "grams"),
            (ratio((500, "ug"), (1, "mL")), None, Fraction(1, 2), "micrograms"),
            (ratio((20, "g"), (1, "L")), None, 20, "per litre"),
            (ratio((0.75, "%"), (1, "1")), None, Fraction(15, 2), "per cent: g per 100 mL"),
            ({"numerator": q(0.75, "%"), "denominator": {"value": 1}}, None, Fraction(15, 2), "per cent of one"),
            ({"numerator": q(0.75, "%")}, None, Fraction(15, 2), "per cent, denominator left out"),
            (ratio((0.75, "%"), (2, "1")), None, None, "per cent of two is nonsense"),
            (ratio((20, "mg/mL"), (1, "1")), None, 20, "already a concentration"),
            ({"numerator": q(20, "mg/mL")}, None, 20, "already a concentration, denominator left out"),
            (ratio((500, "mg"), (1, "1")), ratio((20, "mL"), (1, "1")), 25, "per container of 20 mL"),
            (ratio((500, "mg"), (1, "{vial}")), ratio((20, "mL"), (1, "{vial}")), 25, "per vial of 20 mL"),
            (
                {"numerator": q(500, "mg"), "denominator": {"value": 1, "unit": "vial"}},
                {"numerator": q(20, "mL"), "denominator": {"value": 1}},
                25,
                "vial as a word",
            ),
            (ratio((500, "mg"), (1, "1")), ratio((100, "mL"), (5, "1")), 25, "five containers, 100 mL together"),
            (ratio((1000, "mg"), (2, "1")), ratio((20, "mL"), (1, "1")), 25, "1000 mg in two containers of 20 mL"),
            (ratio((500, "mg"), (1, "1")), {"numerator": q(20, "mL")}, 25, "amount without denominator"),
            (ratio((500, "mg"), (1, "1")), None, None, "per container of unknown volume"),
            (ratio((500, "mg"), (1, "1")), ratio((20, "mg"), (1, "1")), None, "a container is measured in volume"),
            ({"numerator": q(20, "mg"), "denominator": {"value": 1}}, None, None, "per 1 what: mL or vial?"),
            ({"numerator": q(20, "mg")}, None, None, "a mass per nothing"),
            (ratio((20, "mg"), (1, "g")), None, None, "per mass is no concentration"),
            (ratio((20, "mL"), (1, "mL")), None, None, "a volume is no strength"),
            (ratio((20, "mmol"), (1, "mL")), None, None, "amount of substance"),
            (ratio((20, "mcg"), (1, "mL")), None, None, "mcg declared as UCUM"),
            (ratio((0, "mg"), (1, "mL")), None, None, "zero"),
            (ratio((20, "mg"), (0, "mL")), None, None, "per zero"),
            ({}, None, None, "empty"),
        ],
    )
    def test_concentration(self, strength, amount, expected, why):
        solution = order(request([drug("morphine", strength)], [rate(1, "mL/d")], amount=amount)).solution
        assert solution.parts[0].concentration == expected, why
        assert bool(solution.parts[0].why) is (expected is None)

    def test_steps_only_where_something_was_worked_out(self):
        parts = order(request([drug("morphine", 20), drug("bupivacaine", ratio((600, "mg"), (20, "mL")))], [])).solution
        assert [part.steps for part in parts.parts] == [(), ("600 mg / 20 mL = 30 mg/mL",)]

    def test_mcg_as_text_is_understood_and_flagged(self):
        strength = {"numerator": {"value": 500, "unit": "mcg"}, "denominator": {"value": 1, "unit": "mL"}}
        read = order(request([drug("baclofen", strength)], [rate(1, "mL/d")]))
        assert read.solution.parts[0].concentration == Fraction(1, 2)
        assert read.flags == (("non_ucum_unit", "baclofen"),)


class TestMedicine:
    def test_a_coded_product_brings_its_concentration(self):
        read = order(_coded(INFUMORPH))
        assert [(part.name, part.rxcui, part.concentration) for part in read.solution.parts] == [
            ("morphine", "7052", 10)
        ]
        assert read.solution.product_neuraxial
        assert read.contributions[0].mg_per_day == 10

    def test_a_bare_ingredient_has_no_concentration(self):
        read = order(_coded({"system": RXNORM, "code": "7052"}))
        assert read.solution.parts[0].concentration is None
        assert read.solution.identified
        assert read.contributions[0].mg_per_day is None

    @pytest.mark.parametrize(
        ("resource", "named", "identified", "why"),
        [
            (_coded({"system": RXNORM, "code": "6851", "display": "methotrexate"}), None, True, "not one of ours"),
            (_coded(text="Morphine 20 mg/mL"), None, False, "a name proves nothing"),
            (_coded({"system": "urn:oid:1.2.3", "code": "7052"}), None, False, "a local code is not RxNorm's"),
            (_coded({"system": RXNORM, "code": "999", "display": "Baclofen 0.5 MG/ML"}), None, False, "looks like one"),
            (_coded(), None, False, "no code at all"),
            (
                request([drug("morphine", 1), {"itemCodeableConcept": {"text": "x"}}], []),
                "morphine",
                True,
                "one is enough",
            ),
        ],
    )
    def test_what_says_which_drug_it_is(self, resource, named, identified, why):
        solution = order(resource).solution
        assert (solution.parts[0].name, solution.identified) == (named, identified), why

    def test_a_medication_that_cannot_be_found_is_no_solution(self):
        resource = {**_coded(), "medicationReference": {"reference": "Medication/x", "display": "Morphine pump mix"}}
        del resource["medicationCodeableConcept"]
        read = order(resource)
        assert (read.solution, read.contributions, read.text) == (None, (), "Morphine pump mix")

    @pytest.mark.parametrize("listed", [{"isActive": False}, {}])
    def test_diluents_are_no_active_ingredients(self, listed):
        """By isActive, or by a code that the terminology knows as a diluent."""
        diluent = {"itemCodeableConcept": {"coding": [SODIUM_CHLORIDE]}, **listed}
        read = order(request([drug("morphine", 20), diluent], [rate(5, "mg/d")]))
        assert [part.active for part in read.solution.parts] == [True, False]
        assert read.contributions[0].mg_per_day == 5

    def test_a_named_drug_is_active_whatever_is_said_of_it(self):
        """Morphine marked as inactive is a contradiction, not a diluent."""
        read = order(request([drug("morphine", 20, isActive=False)], [rate(1, "mL/d")]))
        assert read.solution.parts[0].active
        assert ("conflict", "morphine") in read.flags

    def test_two_codes_for_two_drugs_are_a_conflict(self):
        codings = [{"system": RXNORM, "code": "1292"}, {"system": RXNORM, "code": "1815"}]
        assert ("conflict", "baclofen") in order(_coded(*codings)).flags

    def test_medication_code_without_ingredients(self):
        resource = request([], [rate(1, "mL/d")])
        resource["contained"][0]["code"] = {"coding": [INFUMORPH]}
        resource["contained"][0]["form"] = {"coding": [{"system": SNOMED, "code": "385219001"}]}
        read = order(resource)
        assert (read.contributions[0].mg_per_day, read.dose_form) == (10, (Code(SNOMED, "385219001"),))

    def test_a_label_fills_a_missing_strength(self):
        resource = request([drug("morphine")], [rate(1, "mL/d")])
        resource["contained"][0]["code"] = {"coding": [INFUMORPH]}
        assert order(resource).solution.parts[0].concentration == 10

    def test_a_label_that_differs_from_the_strength_leaves_it_unknown(self):
        resource = request([drug("morphine", 20)], [rate(1, "mL/d")])
        resource["contained"][0]["code"] = {"coding": [INFUMORPH]}
        read = order(resource)
        assert read.solution.parts[0].concentration is None
        assert ("conflict", "morphine") in read.flags

    def test_a_component_by_reference(self):
        """10 mL of a 10 mg/mL product in 20 mL, and a Substance with its own strength."""
        half = {"itemReference": {"reference": "#product"}, "strength": ratio((10, "mL"), (20, "mL"))}
        substance = {"itemReference": {"reference": "#clonidine"}, "strength": ratio((1, "mg"), (1, "mL"))}
        resource = request([half, substance], [rate(1, "mL/d")])
        resource["contained"] += [
            {"resourceType": "Medication", "id": "product", "code": {"coding": [INFUMORPH]}},
            {"resourceType": "Substance", "id": "clonidine", "code": {"coding": [{"system": RXNORM, "code": "2599"}]}},
        ]
        found = [(part.name, part.concentration) for part in order(resource).solution.parts]
        assert found == [("morphine", 5), ("clonidine", 1)]

    def test_a_component_that_cannot_be_found_is_an_unknown_active_drug(self):
        gone = {"itemReference": {"reference": "Substance/gone", "display": "something"}}
        read = order(request([drug("morphine", 10), gone], [rate(5, "mg/d")]))
        assert read.contributions[0].mg_per_day is None


class TestRoute:
    @pytest.mark.parametrize(
        ("route", "group", "unclear"),
        [
            (_route(_snomed("72607000")), RouteGroup.INTRATHECAL, False),
            (_route(_snomed("417070009")), RouteGroup.EPIDURAL, False),
            (_route(text="Intrathecal"), RouteGroup.INTRATHECAL, False),
            (_route(text="  intrathecal  ROUTE "), RouteGroup.INTRATHECAL, False),
            (_route({"system": "urn:x", "code": "1", "display": "Epidural"}), RouteGroup.EPIDURAL, False),
            (_route(text="IT"), None, True),  # may be intratracheal
            (_route(text="Intrathecal (implanted pump)"), RouteGroup.INTRATHECAL, False),
            (_route({"system": "urn:x", "code": "1", "display": "Epidural, via catheter"}), RouteGroup.EPIDURAL, False),
            (_route(text="not intrathecal"), None, True),
            (_route(text="not for intrathecal use"), None, True),
            (_route(text="intrathecal or intravenous"), None, True),
            (_route(text="Intravenous, then intrathecal"), None, True),
            (_route(text="IT via pump"), None, True),
            (_route(text="oral via pump"), None, True),  # a longer text never puts an order out of scope
            (_route(_snomed("72607000"), _snomed("47625008")), None, True),  # two codes disagree
            (_route(_snomed("1")), None, True),
            ({}, None, True),
        ],
    )
    def test_one_instruction(self, route, group, unclear):
        resource = request([drug("morphine", 20)], [{**rate(1, "mL/d"), "route": route}], route=None)
        read = order(resource)
        assert (read.route, read.route_unclear) == (group, unclear)

    def test_no_route(self):
        read = order(request([drug("morphine", 20)], [rate(1, "mL/d")], route=None))
        assert (read.route, read.route_unclear) == (None, False)

    def test_one_route_stated_holds_for_all_instructions(self):
        stated = {**rate(8, "mg/d"), "route": _route(_snomed("72607000"))}
        read = order(request([drug("morphine", 20)], [stated, rate(8, "mg/d")], route=None))
        assert (read.route, read.contributions[0].mg_per_day) == (RouteGroup.INTRATHECAL, 16)

    def test_tablets_beside_the_pump_do_not_count(self):
        """One order with an intrathecal and an oral instruction: only what goes in by the pump is its dose."""
        pump = {**rate(8, "mg/d"), "route": _route(_snomed("72607000"))}
        tablets = {**rate(60, "mg/d"), "route": _route(_snomed("26643006"))}
        read = order(request([drug("morphine", 20)], [tablets, pump]))
        assert (read.route, read.contributions[0].mg_per_day) == (RouteGroup.INTRATHECAL, 8)

    def test_two_neuraxial_routes_in_one_order_are_asked_about(self):
        first = {**rate(8, "mg/d"), "route": _route(_snomed("72607000"))}
        second = {**rate(8, "mg/d"), "route": _route(_snomed("404820008"))}
        read = order(request([drug("morphine", 20)], [first, second]))
        assert (read.route, read.contributions[0].mg_per_day) == (RouteGroup.INTRASPINAL, 16)


class TestSurroundings:
    def test_reasons_priors_and_references(self):
        condition = {
            "resourceType": "Condition",
            "id": "c",
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "G89.28"}]},
        }
        resource = _coded(
            INFUMORPH,
            contained=[condition],
            reasonCode=[{"coding": [{"system": SNOMED, "code": "82423001"}]}],
            reasonReference=[{"reference": "#c"}, {"reference": "Condition/gone"}],
            priorPrescription={"reference": "https://ehr.example.org/fhir/MedicationRequest/old/_history/3"},
            encounter={"reference": "Encounter/e"},
            requester={"reference": "Practitioner/p"},
            authoredOn="2026-02-02T10:00:00Z",
            category=[{"coding": [{"system": "urn:c", "code": "inpatient"}]}],
        )
        read = read_order(
            parsed(resource),
            resolve,
            VOCABULARY,
            draft=True,
            source="MedicationRequest/draft-1",
            host="ehr.example.org",
        )
        assert read.reasons == (
            Code(SNOMED, "82423001"),
            Code("http://hl7.org/fhir/sid/icd-10-cm", "G89.28"),
        )
        assert read.prior == ("MedicationRequest/old",)
        assert (read.encounter, read.requester) == ("Encounter/e", "Practitioner/p")
        assert read.authored == date(2026, 2, 2)
        assert read.category == (Code("urn:c", "inpatient"),)

    def test_service_and_device_orders(self):
        service = order(
            {
                "resourceType": "ServiceRequest",
                "id": "s",
                "status": "draft",
                "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "62362"}]},
                "replaces": [{"reference": "ServiceRequest/old"}],
            }
        )
        assert (service.kind, service.codes[0].code) == (OrderKind.SERVICE, "62362")
        assert (service.prior, service.solution) == (("ServiceRequest/old",), None)
        device = order(
            {
                "resourceType": "DeviceRequest",
                "id": "d",
                "status": "draft",
                "contained": [
                    {"resourceType": "Device", "id": "x", "type": {"coding": [{"system": "u", "code": "E0783"}]}}
                ],
                "codeReference": {"reference": "#x"},
            }
        )
        assert (device.kind, device.codes) == (OrderKind.DEVICE, (Code("u", "E0783"),))

    def test_a_statement_has_a_drug_and_a_route_but_never_counts(self):
        """It would count the same drug twice beside its order."""
        statement = {
            **request([drug("morphine", 20)], [], name="st"),
            "resourceType": "MedicationStatement",
            "status": "active",
            "dosage": [{**rate(8, "mg/d"), "route": _route(_snomed("72607000"))}],
        }
        read = order(statement, draft=False)
        assert (read.kind, read.route) == (OrderKind.OTHER, RouteGroup.INTRATHECAL)
        mine = order(request([drug("morphine", 20)], [rate(8, "mg/d")]))
        assert assess(mine, [read], TABLE).results[0].daily == 8


class TestMayCumulate:
    WANTED = frozenset({RouteGroup.INTRATHECAL, RouteGroup.INTRASPINAL})

    @pytest.mark.parametrize(
        ("resource", "expected"),
        [
            (request([], [rate(1, "mL/d")], status="active"), True),
            (request([], [rate(1, "mL/d")], status="active", route="intraspinal"), True),
            (request([], [rate(1, "mL/d")], status="active", route="oral"), False),
            (request([], [rate(1, "mL/d")], status="active", route=None), False),
            (request([], [rate(1, "mL/d")], status="stopped"), False),
            (request([], [rate(1, "mL/d")], status="active", intent="plan"), False),
            (request([], [rate(1, "mL/d")], status="active", doNotPerform=True), False),
            ({"resourceType": "ServiceRequest"}, False),
            ({"resourceType": ["x"], "status": {}, "dosageInstruction": [None]}, False),
        ],
    )
    def test_cheap_gate(self, resource, expected):
        assert may_cumulate(parsed(resource), VOCABULARY, self.WANTED) is expected

    def test_never_drops_what_would_have_counted(self):
        """Whatever the engine counts passes the gate."""
        source = Orders(11)
        for _ in range(300):
            draft, _, chart = source.situation()
            mine = order(draft)
            for one in chart:
                with_it = assess(mine, [order(one, draft=False)], TABLE)
                if with_it != assess(mine, [], TABLE):
                    wanted = {mine.route, RouteGroup.INTRASPINAL}
                    assert may_cumulate(parsed(one), VOCABULARY, wanted)


JUNK = [
    None,
    True,
    0,
    -1,
    "",
    "x",
    [],
    {},
    [None],
    {"value": None},
    [[]],
    "\u0000",
    10**30,
    {"coding": "x"},
    {"coding": [None]},
]


def _places(value, path=()):
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _places(member, (*path, key))


def test_bad_input_no_shape_breaks_the_reader():
    """Any element replaced by anything: the order is read, and what it lost is unknown; nothing is ever raised."""
    random, source = Random(5), Orders(5)
    for _ in range(2000):
        draft, _, _ = source.situation()
        draft = copy.deepcopy(draft)
        path = random.choice([path for path in _places(draft) if path and path[0] != "id"])
        inner = draft
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = random.choice(JUNK)
        read = read_order(parsed(draft), _any, VOCABULARY, draft=True, source="MedicationRequest/draft-1")
        assess(read, [], TABLE)
        may_cumulate(parsed(draft), VOCABULARY)


def _any(reference, container):
    """A resolver as robust as the real one."""
    held = container.get("contained")
    return held[0] if isinstance(held, list) and held and isinstance(held[0], dict) else None
