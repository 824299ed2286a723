"""The structural gate: what it lets through, and one mutant of a good Bundle for every rule (rows P010-P035, 113)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.gate import check_inquiry, check_submit
from tests.support import pas_bundles
from tests.support.pas_bundles import CPT, EXT, ICD10, X12, concept, encoded, item, request, update_of
from tests.support.pas_mutants import CLAIM, ITEM, MUTANTS, Change, claim_of, drop, good, of, put, resource
from tests.support.pas_service import Pas


def checked(bundle: Any, version: str = "2.2", check: Any = check_submit) -> list[tuple[str, str]]:
    found = check(read_bundle(parse(encoded(bundle), max_bytes=10_000_000)), version)
    return [(each.rule, each.expression) for each in found if each.severity == "error"]


def mutants(first: str, last: str) -> Any:
    """Every mutant of these rules, for every version that has the rule."""
    held = [
        pytest.param(rule, where, change, version, id=f"{rule}-{number}-{version}")
        for number, (rule, where, change, versions) in enumerate(MUTANTS)
        for version in versions
        if first <= rule <= last
    ]
    return pytest.mark.parametrize(("rule", "where", "change", "version"), held)


def caught(rule: str, where: str, change: Change, version: str) -> bool:
    bundle = good()
    change(bundle)
    return (rule, where) in checked(bundle, version)


@mutants("P010", "P017")
def test_P010_P011_P012_P013_P017_a_bundle_that_breaks_a_rule(
    rule: str, where: str, change: Change, version: str
) -> None:
    assert caught(rule, where, change, version)


@mutants("P020", "P028")
def test_P020_P021_P022_P023_P024_P025_P026_P027_P028_a_claim_that_breaks_a_rule(
    rule: str, where: str, change: Change, version: str
) -> None:
    assert caught(rule, where, change, version)


@mutants("P029", "P035")
def test_P029_P031_P032_P033_P035_what_goes_along_and_breaks_a_rule(
    rule: str, where: str, change: Change, version: str
) -> None:
    assert caught(rule, where, change, version)


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_P016_a_request_that_uses_every_element_is_let_through(version: str) -> None:
    assert checked(good(), version) == []


def test_every_rule_of_the_gate_has_a_mutant() -> None:
    named = {rule for rule, *_ in MUTANTS}
    # P014 warns, P015-P016, P018-P019 are about what is let through, P030 and P034 refuse nothing
    spoken = {f"P{number:03d}" for number in range(10, 36)} - {"P014", "P015", "P016", "P018", "P019", "P030", "P034"}
    assert named == spoken


NOT_REQUIRED: list[tuple[str, Change]] = [
    ("no diagnosis", drop(*CLAIM, "diagnosis")),
    ("no priority", drop(*CLAIM, "priority")),
    ("no birth date", drop("entry", 1, "resource", "birthDate")),
    ("no patient name", drop("entry", 1, "resource", "name")),
    ("no period of the Coverage", drop("entry", 2, "resource", "period")),
    ("no name of the insurer", drop("entry", 3, "resource", "name")),
    ("no NPI of the clinic", drop("entry", 4, "resource", "identifier")),
    ("no supporting information", drop(*CLAIM, "supportingInfo")),
    ("no route on the order", of("MedicationRequest", lambda r: r["dosageInstruction"][0].pop("route"))),
    ("no dosage on the order", of("MedicationRequest", lambda r: r.pop("dosageInstruction"))),
    ("no requested order", lambda b: claim_of(b)["item"][0]["extension"].pop(2)),
    ("no quantity", drop(*ITEM, "quantity")),
    ("no requester on the order", of("MedicationRequest", lambda r: r.pop("requester"))),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in NOT_REQUIRED])
def test_P015_a_missing_element_that_is_not_required_is_never_refused(change: Change, pas: Pas) -> None:
    bundle = good()
    change(bundle)
    assert checked(bundle) == []
    answer = pas.submit(bundle)
    assert answer.status == 200  # at most it waits for a person
    assert answer.json["entry"][0]["resource"]["resourceType"] == "ClaimResponse"


def test_P013_bundles_with_urn_addresses_are_read() -> None:
    bundle = _with_urns(good())
    assert checked(bundle) == []
    claim_of(bundle)["insurer"]["reference"] = "urn:uuid:00000000-0000-4000-8000-0000000000ff"
    assert checked(bundle) == [("P013", "Bundle.entry[0].resource.insurer")]


def _with_urns(bundle: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(json.loads(encoded(bundle)))
    for number, entry in enumerate(bundle["entry"]):
        name = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        urn = f"urn:uuid:00000000-0000-4000-8000-{number:012x}"
        text = text.replace(f'"{pas_bundles.BASE}{name}"', f'"{urn}"').replace(f'"{name}"', f'"{urn}"')
    changed = json.loads(text)
    for entry in changed["entry"]:
        entry["resource"].pop("id")
    return changed


def test_P014_the_same_person_under_two_addresses_is_a_warning() -> None:
    bundle = good()
    twin = copy.deepcopy(bundle["entry"][5])
    bundle["entry"].append(twin | {"fullUrl": f"{pas_bundles.BASE}Practitioner/other"})
    found = check_submit(read_bundle(parse(encoded(bundle), max_bytes=10_000_000)), "2.2")
    assert [(each.rule, each.severity) for each in found] == [("P014", "warning")]


def test_P017_unknown_elements_and_extensions_are_ignored(pas: Pas) -> None:
    bundle = good()
    claim_of(bundle)["extension"] = [{"url": "https://x.example.org/of-ours", "valueString": "x"}]
    claim_of(bundle)["unheardOf"] = {"a": 1}
    assert pas.submit(bundle).status == 200


def test_P019_nothing_beyond_the_guides_is_asked_for(pas: Pas) -> None:
    bundle = good()
    for entry in bundle["entry"]:
        entry["resource"].pop("meta", None)  # no profile is claimed anywhere
    assert pas.submit(bundle).status == 200


def test_P027_several_codes_may_stand_beside_the_one_that_counts() -> None:
    bundle = good()
    codings = claim_of(bundle)["diagnosis"][0]["diagnosisCodeableConcept"]["coding"]
    codings.insert(0, {"system": pas_bundles.SNOMED, "code": "82423001"})
    assert checked(bundle) == []
    assert any(each["system"] == ICD10 for each in codings)


def test_P030_a_supporting_resource_that_misses_something_is_read_all_the_same(pas: Pas) -> None:
    bundle = good()
    resource(bundle, "Condition").pop("clinicalStatus")
    assert pas.submit(bundle).status == 200


def test_P080_an_update_brings_the_claim_that_it_replaces() -> None:
    changed = update_of(good(), identifier="B9")
    assert checked(changed) == []
    changed["entry"].pop()
    assert ("P013", "Bundle.entry[0].resource.related[0].claim") in checked(changed)


def test_P084_a_cancellation_may_be_without_items() -> None:
    cancels = {
        "extension": [{"url": f"{EXT}certificationType", "valueCodeableConcept": concept(f"{X12}1322", "3")}],
        "item": [],
    }
    assert checked(update_of(good(), identifier="B9", claim=cancels)) == []
    assert ("P084", "Bundle.entry[0].resource.related") in checked(request(claim=cancels))


def test_P073_an_inquiry_may_ask_for_whatever_service() -> None:
    asks = request(items=[item(1, order=None, code="62362", system=CPT)])
    assert checked(asks, check=check_inquiry) == []
    claim_of(asks)["item"][0]["productOrService"] = concept(
        "http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-applicable"
    )
    assert checked(asks, check=check_inquiry) == []


# status by HTTP: rows of reliability 1.3
TELLS: list[tuple[str, Change, int]] = [
    ("first entry no Claim", lambda b: b["entry"].insert(0, b["entry"].pop(1)), 400),
    ("fullUrl twice", lambda b: b["entry"][9].update(fullUrl=b["entry"][8]["fullUrl"]), 422),
    ("reference that leads nowhere", put("Organization/nobody", *CLAIM, "insurer", "reference"), 422),
    ("no entry at all", put([], "entry"), 400),
]


@pytest.mark.parametrize(("change", "status"), [pytest.param(c, s, id=name) for name, c, s in TELLS])
def test_bad_input_113_structure_is_refused_with_one_outcome(change: Change, status: int, pas: Pas) -> None:
    bundle = good()
    change(bundle)
    answer = pas.submit(bundle)
    assert answer.status == status
    assert answer.json["resourceType"] == "OperationOutcome"
    assert pas.rows("SELECT 1 FROM pa_case") == []


def test_bad_input_113_xml_is_another_medium(pas: Pas) -> None:
    answer = pas.submit(b"<Bundle/>", content_type="application/fhir+xml")
    assert (answer.status, answer.json["resourceType"]) == (415, "OperationOutcome")


def test_P093_P095_all_findings_are_told_in_one_outcome(pas: Pas) -> None:
    bundle = good()
    claim_of(bundle)["status"] = "draft"
    claim_of(bundle)["use"] = "claim"
    issues = pas.submit(bundle).json["issue"]
    assert [each["expression"] for each in issues] == [
        ["Bundle.entry[0].resource.status"],
        ["Bundle.entry[0].resource.use"],
    ]
    assert all(each["severity"] == "error" and each["code"] and each["details"]["text"] for each in issues)


@pytest.mark.shared
@pytest.mark.parametrize("package", ["2.0.1", "2.2.1"])
def test_the_examples_of_the_guides_are_let_through(package: str, shared_dir: Path) -> None:
    import tarfile  # noqa: PLC0415

    version = "2.2" if package == "2.2.1" else package
    seen = 0
    with tarfile.open(shared_dir / "igs" / f"hl7.fhir.us.davinci-pas-{package}.tgz") as archive:
        for member in archive.getmembers():
            if "/example/Bundle-" not in member.name:
                continue
            held = archive.extractfile(member)
            assert held is not None
            raw = json.loads(held.read())
            if raw["type"] != "collection" or raw["entry"][0]["resource"]["resourceType"] != "Claim":
                continue
            check = check_inquiry if "Inquiry" in member.name else check_submit
            assert checked(raw, version, check) == [], member.name
            seen += 1
    assert seen == (7 if package == "2.0.1" else 6)
