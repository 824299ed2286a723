"""Case files in sentences: from a pharmacist's words to a Case."""

# ruff: noqa: FBT003 - the values of the domain are written in their order, as the files state them

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from cds_service.adapters.policy_files import Configuration, load_configuration
from cds_service.adapters.strict_yaml import read
from cds_service.domain.determination import DoseAssessment, OrderDetermination, Program
from cds_service.domain.dosing import assess
from cds_service.domain.order import Contribution, Order, OrderKind, Part, Solution
from cds_service.domain.record import (
    Answer,
    Availability,
    Code,
    Condition,
    Device,
    Encounter,
    Procedure,
    Record,
    Score,
    ServiceOrder,
    Therapy,
)
from cds_service.domain.vocabulary import ICD10CM, RouteGroup
from cds_service.policy.case import Case
from cds_service.policy.evaluate import determine
from cds_service.policy.source import Node

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
SECOND = ROOT / "tests" / "second_guideline" / "config"
SYSTEMS = {
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "snomed": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "icd10": ICD10CM,
    "hcpcs": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "cpt": "http://www.ama-assn.org/go/cpt",
}
CATEGORY = "http://terminology.hl7.org/CodeSystem/medicationrequest-category"
ROUTES = {
    "mouth": "26643006",
    "skin": "45890007",
    "vein": "47625008",
    "spine": "72607000",
    "epidural": "404820008",
}
# RxNorm ingredients as in the terminology files; gabapentin and methotrexate are known to nobody here.
DRUGS = {
    "oxycodone": "7804",
    "morphine": "7052",
    "hydromorphone": "3423",
    "fentanyl": "4337",
    "baclofen": "1292",
    "warfarin": "11289",
    "gabapentin": "25480",
    "methotrexate": "6851",
    "bupivacaine": "1815",
    "clonidine": "2599",
    "ziconotide": "68503",
    "sufentanil": "56795",
    "ketamine": "6130",
}
ALL_TYPES = (
    "Condition", "MedicationRequest", "MedicationStatement", "MedicationDispense", "MedicationAdministration",
    "Observation", "Procedure", "Device", "DeviceUseStatement", "QuestionnaireResponse", "Encounter",
    "ServiceRequest", "DeviceRequest", "AllergyIntolerance", "Patient", "Coverage",
)  # fmt: skip


@cache
def shipped() -> Configuration:
    """The configuration that ships."""
    return load_configuration(CONFIG)


@cache
def second() -> Configuration:
    """The made-up guideline."""
    return load_configuration(SECOND)


def simple(node: Node) -> Any:
    """A file's values as plain lists, mappings and text."""
    if isinstance(node.value, dict):
        return {key: simple(value) for key, value in node.value.items()}
    if isinstance(node.value, tuple):
        return [simple(item) for item in node.value]
    return node.value


def load_cases(path: Path) -> list[dict[str, Any]]:
    """The cases of one file, each with the answers that it starts from filled in."""
    complaints: list[Any] = []
    node = read(path.read_text("utf-8"), str(path.relative_to(ROOT)), complaints)
    assert node is not None
    assert not complaints, [str(each) for each in complaints]
    content = simple(node)
    sets = content.get("answers", {})
    cases = []
    for case in content["cases"]:
        answers = dict(sets.get(case.get("start_from", ""), {}))
        answers.update(case.get("answers", {}))
        for name in case.get("unanswered", []):
            answers.pop(name, None)
        cases.append({**case, "answers": answers, "file": path.name})
    return cases


def all_cases(folder: str) -> list[dict[str, Any]]:
    """All cases of one guideline."""
    return [
        case for path in sorted((ROOT / "tests" / "policy_cases" / folder).glob("*.yaml")) for case in load_cases(path)
    ]


def day(text: str | None) -> date | None:
    """A day, or none."""
    return date.fromisoformat(text) if text else None


def code(text: str) -> Code:
    """``icd10:G89.28`` as a code."""
    system, _, value = text.partition(":")
    return Code(SYSTEMS.get(system, system), value)


def value_of(text: str) -> str | Fraction | date:
    """An answer: a number, a day, or a word."""
    for kind in (Fraction, date.fromisoformat):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def record_of(case: Mapping[str, Any]) -> Record:
    """The chart that a case describes; wholly seen unless it says otherwise."""
    chart = case.get("chart", {})
    answered = day(case.get("answered_on", "2026-02-20"))
    answers = [
        Answer(name, value_of(text), "QuestionnaireResponse/1", answered, True, True)
        for name, text in case["answers"].items()
    ]
    for number, each in enumerate(case.get("other_answers", ()), 2):
        answers.append(
            Answer(
                each["fact"],
                value_of(each["answer"]),
                f"QuestionnaireResponse/{number}",
                day(each.get("on")),
                each.get("completed", "yes") == "yes",
                True,
            )
        )
    availability = dict.fromkeys(ALL_TYPES, Availability.COMPLETE)
    availability.update({name: Availability(word) for name, word in case.get("seen", {}).items()})
    return Record(
        "p1",
        conditions=tuple(_conditions(chart.get("conditions", ()))),
        therapies=tuple(_therapies(chart.get("medications", ()))),
        scores=tuple(_scores(chart.get("scores", ()))),
        procedures=tuple(
            Procedure(f"Procedure/{n}", (code(each["code"]),), each["code"], True, day(each.get("on")))
            for n, each in enumerate(chart.get("procedures", ()))
        ),
        devices=tuple(
            Device(f"Device/{n}", (code(each["code"]),), each["code"], each.get("in_place", "yes") == "yes", None)
            for n, each in enumerate(chart.get("devices", ()))
        ),
        service_orders=tuple(
            ServiceOrder(f"ServiceRequest/{n}", (code(each["code"]),), each["code"], False, True, None)
            for n, each in enumerate(chart.get("orders", ()))
        ),
        encounters=tuple(
            Encounter(f"Encounter/{n}", (each["class"],), tuple(code(one) for one in each.get("codes", ())), None)
            for n, each in enumerate(chart.get("encounters", ()))
        ),
        answers=tuple(answers),
        birth_date=day(chart.get("born")),
        availability=availability,
    )


def _conditions(entries: Sequence[Mapping[str, Any]]) -> Iterator[Condition]:
    for n, each in enumerate(entries):
        yield Condition(
            f"Condition/{n}",
            (code(each["code"]),),
            each["code"],
            active=each.get("active", "yes") == "yes",
            confirmed=each.get("confirmed", "yes") == "yes",
            recorded=day(each.get("since", "2025-01-01")),
        )


def _therapies(entries: Sequence[Mapping[str, Any]]) -> Iterator[Therapy]:
    for n, each in enumerate(entries):
        as_needed = each.get("schedule") == "as needed"
        codes = (code(each["code"]),) if "code" in each else (Code(SYSTEMS["rxnorm"], DRUGS[each["drug"]]),)
        yield Therapy(
            f"MedicationRequest/{n}",
            "MedicationRequest",
            codes,
            each.get("drug", each.get("code", "")),
            (Code(SYSTEMS["snomed"], ROUTES[each["by"]]),) if "by" in each else (),
            each.get("status", "active" if "to" not in each else "completed"),
            each.get("planned_only", "no") == "yes",
            as_needed,
            "schedule" in each and not as_needed,
            each.get("schedule", ""),
            day(each.get("from")),
            day(each.get("to")),
            "",
        )


def _scores(entries: Sequence[Mapping[str, Any]]) -> Iterator[Score]:
    for n, each in enumerate(entries):
        when = day(each["on"])
        assert when is not None
        yield Score(f"Observation/{n}", (code(each["code"]),), "score", Fraction(each["value"]), "{score}", when)


def order_of(entry: Mapping[str, Any] | str, number: int = 0) -> Order:
    """An order in words: ``morphine 20 mg/mL at 0.5 mL/d`` in parts, a route, reasons; or a procedure's code."""
    if isinstance(entry, str):
        entry = {"code": entry}
    if "drugs" not in entry:
        kind = OrderKind(entry.get("kind", "ServiceRequest"))
        return Order(
            f"{kind.value}/draft-{number}", kind, "draft", True, (code(entry["code"]),), entry["code"], None, False, "",
            None, (), False, reasons=tuple(code(each) for each in entry.get("reasons", ())),
            encounter=entry.get("encounter", ""),
        )  # fmt: skip
    parts, contributions = [], []
    for drug, amounts in entry["drugs"].items():
        concentration = Fraction(amounts["mg_per_ml"]) if "mg_per_ml" in amounts else None
        daily = Fraction(amounts["mg_per_day"]) if "mg_per_day" in amounts else None
        names = {each.name for each in shipped().vocabulary.ingredients.values()}
        names |= {each.name for each in second().vocabulary.ingredients.values()} if entry.get("second") else set()
        rxcui = DRUGS.get(drug, amounts.get("rxcui", ""))
        known = drug if drug in names else None
        parts.append(Part(known, rxcui, drug, (Code(SYSTEMS["rxnorm"], rxcui),), True, concentration))
        contributions.append(Contribution(drug, daily, daily or Fraction(0), ()))
    route = entry.get("route", "intrathecal")
    product = entry.get("product")
    return Order(
        f"MedicationRequest/draft-{number}",
        OrderKind.DRUG,
        "draft",
        True,
        tuple(one for part in parts for one in part.codes),
        " + ".join(entry["drugs"]),
        None if route in {"missing", "unclear"} else RouteGroup(route),
        route == "unclear",
        route,
        Solution(
            tuple(parts),
            " + ".join(entry["drugs"]),
            product,
            product is not None,
            entry.get("identified", "yes") == "yes",
        ),
        tuple(contributions),
        entry.get("pump_like", "yes") == "yes",
        dose_form=tuple(code(each) for each in entry.get("form", ())),
        reasons=tuple(code(each) for each in entry.get("reasons", ())),
        category=tuple(Code(CATEGORY, each) for each in entry.get("category", ())),
        prior=tuple(entry.get("replaces", ())),
        encounter=entry.get("encounter", ""),
        prohibited=entry.get("prohibited", "no") == "yes",
    )  # fmt: skip


MORPHINE = {
    "drugs": {"morphine": {"mg_per_ml": "20", "mg_per_day": "10"}},
    "reasons": ["icd10:G89.28"],
}


def case_of(case: Mapping[str, Any], configuration: Configuration) -> Case:
    """The case as the guideline sees it."""
    order = order_of(case.get("order", MORPHINE))
    guideline = configuration.guidelines[0]
    dose = assess(order, (), guideline.dose_table) if order.kind is OrderKind.DRUG else DoseAssessment(())
    return Case(
        order,
        Program(case.get("program", "standard")),
        dose,
        record_of(case),
        tuple(order_of(each, number) for number, each in enumerate(case.get("also_ordered", ()), 1)),
        case.get("authorization_in_force", "no") == "yes",
    )


def judge(case: Mapping[str, Any], configuration: Configuration) -> OrderDetermination:
    """What the guideline says of a case."""
    as_of = day(case.get("as_of", "2026-03-02"))
    assert as_of is not None
    return determine(
        configuration.guidelines[0], configuration.vocabulary, configuration.payer, case_of(case, configuration), as_of
    )
