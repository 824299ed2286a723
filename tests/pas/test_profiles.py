"""Every kind of answer against the guide's own profiles: cardinalities, fixed values, references (P040-P059)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pas.test_changes import whole_cancelled
from tests.pas.test_inquire import MISSING, inquiry
from tests.pas.test_settle import approve, denial, modify
from tests.support.pas_bundles import CPT, item, morphine, request, update_of
from tests.support.pas_service import Pas, actions
from tests.support.structure_definitions import profile, violations

PACKAGES = {"2.0.1": "hl7.fhir.us.davinci-pas-2.0.1", "2.2": "hl7.fhir.us.davinci-pas-2.2.1"}
Made = Callable[[Pas, str], dict[str, Any]]


def sent(pas: Pas, version: str, **changes: Any) -> dict[str, Any]:
    return dict(pas.submit(request(**changes), version).json)


def by_person(decision: Any) -> Made:
    """What a reviewer's decision on a pended request is told as."""

    def made(pas: Pas, version: str) -> dict[str, Any]:
        case = pas.case_of(pas.submit(request(values=MISSING, order=morphine("1.6")), version))
        return dict(json.loads(pas.settle(case, decision).response))

    return made


def other_payer(pas: Pas, version: str) -> dict[str, Any]:
    bundle = request()
    bundle["entry"][3]["resource"]["name"] = "Some Other Plan"
    return dict(pas.submit(bundle, version).json)


def cancelled(pas: Pas, version: str) -> dict[str, Any]:
    first = request(values=MISSING)
    pas.submit(first, version)
    return dict(pas.submit(update_of(first, identifier="U-1", claim=whole_cancelled()), version).json)


def two_lines(pas: Pas, version: str) -> dict[str, Any]:
    lines = [item(7), item(3, code="62362", system=CPT, order=None)]
    return sent(pas, version, items=lines)


def inquired(pas: Pas, version: str) -> dict[str, Any]:
    pas.submit(request(values=MISSING), version)
    answer = pas.inquire(inquiry(), version).json
    return dict(answer["parameter"][0]["resource"] if version == "2.2" else answer)


ANSWERS: list[tuple[str, Made, list[str]]] = [
    ("approved", sent, ["A1"]),
    ("pended, a form is wanted", lambda pas, version: sent(pas, version, values=MISSING), ["A4"]),
    ("two lines, in the order of the request", two_lines, ["A4", "A4"]),
    ("approved by a person", by_person(approve()), ["A1"]),
    ("not certified", by_person(denial()), ["A3"]),
    ("modified", by_person(modify()), ["A6"]),
    ("cancelled", cancelled, ["C"]),
    ("an error of the request", other_payer, []),
    ("told to an inquiry", inquired, ["A4"]),
]


def unresolved(bundle: dict[str, Any]) -> Iterator[str]:
    """References that no entry, or more than one, stands for; the Claim alone need not come along (P042)."""
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    for entry in bundle["entry"]:
        base = entry["fullUrl"].rsplit("/", 2)[0] + "/"
        for place, text in references(entry["resource"], entry["resource"]["resourceType"]):
            if urls.count(text if ":" in text else base + text) != 1 and place != "ClaimResponse.request":
                yield f"{place}: {text}"


def references(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield place, value["reference"]
        for name, below in value.items():
            yield from references(below, f"{place}.{name}")
    elif isinstance(value, list):
        for below in value:
            yield from references(below, place)


def extensions(package: Path) -> dict[str, dict[str, Any]]:
    with tarfile.open(package) as archive:
        names = [name for name in archive.getnames() if name.startswith("package/StructureDefinition-extension-")]
        held = [json.load(archive.extractfile(name)) for name in names]  # type: ignore[arg-type]
    return {each["url"]: each for each in held}


@pytest.mark.shared
@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
@pytest.mark.parametrize(("made", "told"), [pytest.param(made, told, id=name) for name, made, told in ANSWERS])
def test_P040_P042_P045_P047_P048_every_kind_of_answer_keeps_to_the_profiles(
    shared_dir: Path, version: str, made: Made, told: list[str], pas: Pas
) -> None:
    package = shared_dir / "igs" / f"{PACKAGES[version]}.tgz"
    bundle = made(pas, version)
    response = bundle["entry"][0]["resource"]
    assert list(actions(json.dumps(bundle)).values()) == told
    named = [each["resource"]["meta"]["profile"][0].rpartition("/")[2] for each in bundle["entry"][:1]]
    known = extensions(package)
    assert violations(response, profile(package, named[0]), known) == []
    assert violations(bundle, profile(package, bundle["meta"]["profile"][0].rpartition("/")[2]), {}) == []
    for line in [*response.get("item", []), *response.get("addItem", []), *response.get("error", [])]:
        for extension in line.get("extension", []):
            assert extension["url"] in known, "of this version of the guide"
            assert violations(extension, known[extension["url"]], {}) == []
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "CommunicationRequest":
            assert violations(entry["resource"], profile(package, "profile-communicationrequest"), known) == []
    assert list(unresolved(bundle)) == []
