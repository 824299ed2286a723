"""What fhir_profiles/ publishes: generated, valid, and the broken examples broken by exactly their rule."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cds_service.fhir.models import complaints
from scripts import generate_profiles
from scripts.profile_flags import FLAGS
from tests.support.crd_invariants import URL, broken
from tests.support.structure_definitions import profile, violations

FOLDER = Path(__file__).resolve().parents[3] / "fhir_profiles"
PACKAGES = {"2.0.1": "hl7.fhir.us.davinci-crd-2.0.1.tgz", "2.2": "hl7.fhir.us.davinci-crd-2.2.0-preview.tgz"}
Json = dict[str, Any]


def load(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))


VALID = sorted((FOLDER / "examples/valid").glob("*.json"))
INVALID = sorted((FOLDER / "examples/invalid").glob("*.json"))
DEFINITIONS = sorted(FOLDER.glob("*.json"))
ORDERS = [path for path in VALID if path.stem.startswith("crd-")]


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_files_are_as_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_profiles.main(["--check"]) == 0, capsys.readouterr().out


def test_check_tells_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_profiles, "TARGET", tmp_path)
    assert generate_profiles.main([]) == 0
    assert generate_profiles.main(["--check"]) == 0
    (tmp_path / "CodeSystem-coverage-answers.json").write_text("{}")
    (tmp_path / "ValueSet-request-type.json").unlink()
    (tmp_path / "ValueSet-forgotten.json").write_text("{}")
    capsys.readouterr()
    assert generate_profiles.main(["--check"]) == 1
    told = capsys.readouterr().out
    assert "CodeSystem-coverage-answers.json: differs" in told
    assert "ValueSet-request-type.json: is missing" in told
    assert "ValueSet-forgotten.json: is not generated" in told
    generate_profiles.main([])
    assert generate_profiles.main(["--check"]) == 0


@pytest.mark.parametrize("path", DEFINITIONS + VALID, ids=names(DEFINITIONS + VALID))
def test_every_resource_is_fhir(path: Path) -> None:
    assert complaints(load(path)) == ()


@pytest.mark.parametrize("path", ORDERS, ids=names(ORDERS))
def test_crd_128_137_valid_orders_keep_every_invariant(path: Path) -> None:
    assert broken(load(path)) == set()


@pytest.mark.parametrize("path", INVALID, ids=names(INVALID))
def test_invalid_examples_break_the_rule_they_are_named_for(path: Path, request: pytest.FixtureRequest) -> None:
    resource = load(path)
    if path.stem.startswith("model-"):
        assert complaints(resource)
        return
    assert complaints(resource) == ()
    if path.stem.startswith("crd-"):
        rule = re.match(r"crd-(?:ci-q\d|respci1)", path.stem)
        assert rule is not None
        assert rule[0] in broken(resource)
        return
    assert path.stem.startswith("profile-")
    definitions = extensions_of(request.getfixturevalue("shared_dir"), "2.2")
    assert violations(
        {"extension": resource["extension"]}, {"snapshot": {"element": [{"id": "x", "path": "x"}]}}, definitions
    )


def extensions_of(shared: Path, version: str) -> Mapping[str, Json]:
    return {URL: profile(shared / "igs" / PACKAGES[version], "ext-coverage-information")}


@pytest.mark.shared
@pytest.mark.parametrize("path", ORDERS, ids=names(ORDERS))
def test_crd_142_orders_conform_to_the_profiles_of_their_version(path: Path, shared_dir: Path) -> None:
    version = "2.0.1" if path.stem.startswith("crd-2.0.1") else "2.2"
    order = load(path)
    definition = profile(shared_dir / "igs" / PACKAGES[version], f"profile-{order['resourceType'].lower()}")
    assert violations(order, definition, extensions_of(shared_dir, version)) == []


@pytest.mark.shared
def test_lock_names_the_packages_that_were_used(shared_dir: Path) -> None:
    for line in (FOLDER / "ig.lock").read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((shared_dir / "igs" / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.shared
def test_contract_flag_codes_and_answers_are_published(shared_dir: Path) -> None:
    contract = (shared_dir / "contracts/determination.md").read_text(encoding="utf-8")
    listed = re.search(r"Flag codes: `([^`]*)`", contract)
    assert listed is not None
    assert set(listed[1].split()) <= FLAGS.keys()
    answers = {each["code"] for each in load(FOLDER / "CodeSystem-coverage-answers.json")["concept"]}
    table = (shared_dir / "contracts/questionnaire.md").read_text(encoding="utf-8").split("Choice codes are in")[0]
    codes = {
        code
        for line in table.splitlines()
        for choice in re.findall(r"\| choice \|([^|]*)|\(choice ([^)]*)\)", line)
        for code in re.findall(r"`([a-z_]+)`", "".join(choice))
    }
    assert codes - answers == set()
    assert {"trial", "verified_chronic_regimen", "cannot_determine"} <= codes


def test_every_flag_that_code_or_data_can_raise_is_published() -> None:
    root = FOLDER.parent
    raised = {
        code
        for path in sorted((root / "cds_service").rglob("*.py"))
        for code in re.findall(r"""(?:Flag|\.flag)\(\s*"([a-z_0-9]+)",""", path.read_text(encoding="utf-8"))
    }
    for path in sorted((root / "config").rglob("*.yaml")):
        raised.update(re.findall(r"\b\w*flags?: *\[?([a-z][a-z_0-9]*)", path.read_text(encoding="utf-8")))
    assert {"dose_exceeds", "anticoagulant", "compounded_code_to_confirm"} <= raised
    assert raised - FLAGS.keys() == set()


def test_value_sets_name_codes_that_exist() -> None:
    systems = {
        each["url"]: {concept["code"] for concept in each["concept"]}
        for each in map(load, DEFINITIONS)
        if each["resourceType"] == "CodeSystem"
    }
    for each in map(load, DEFINITIONS):
        if each["resourceType"] == "ValueSet":
            for include in each["compose"]["include"]:
                assert {concept["code"] for concept in include.get("concept", [])} <= systems[include["system"]]


def test_no_name_of_a_person_or_payer_is_published() -> None:
    for path in DEFINITIONS + VALID + INVALID:
        assert "Florida" not in path.read_text(encoding="utf-8"), path.name
