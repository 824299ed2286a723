"""Writes fhir_profiles/: what this product publishes in FHIR, from the configuration and the codecs themselves.

python -m scripts.generate_profiles            writes the files
python -m scripts.generate_profiles --check    says which files differ and fails; `make check` runs it
python -m scripts.generate_profiles --igs DIR  also writes ig.lock from the IG packages in DIR
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cds_service.adapters.policy_files import Configuration, load_configuration
from cds_service.cds_hooks.cards import OVERRIDE_REASONS
from cds_service.cds_hooks.prefetch import WANTED, templates
from cds_service.domain.record import Code
from cds_service.fhir.answer_sets import choice_sets
from cds_service.fhir.dtr.capability import capability_statement
from cds_service.fhir.form_urls import VERSIONS
from cds_service.fhir.pas.capability import GUIDES
from cds_service.fhir.pas.capability import capability_statement as pas_capability
from cds_service.fhir.systems import LOINC, OUR_BASE
from cds_service.policy.model import Fact
from cds_service.use_cases.decide import Addresses, prepare
from cds_service.use_cases.documentation.forms import prepare_forms
from scripts.profile_examples import examples
from scripts.profile_extensions import extensions
from scripts.profile_flags import FLAGS

ROOT = Path(__file__).resolve().parents[1]

TARGET = ROOT / "fhir_profiles"
DATE = "2026-03-02"
VERSION = "0.1.0"
NOTICE = "Demonstrates a published guideline. Not the system of the payer that published it."
_SECOND_READS = ("Medication", "Organization")  # read by id where an order or a Coverage names one
Resource = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write or check; the number of files that differ decides the exit status of a check."""
    parser = argparse.ArgumentParser(description="Generate fhir_profiles/.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file differs")
    parser.add_argument("--igs", type=Path, help="folder of IG packages (*.tgz) to lock")
    options = parser.parse_args(arguments)
    files = {Path(name): _text(resource) for name, resource in resources()}
    stale = _stale(files)
    if options.check:
        for name, why in stale:
            print(f"fhir_profiles/{name}: {why}; run python -m scripts.generate_profiles")
        return 1 if stale else 0
    for name, text in files.items():
        (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
        (TARGET / name).write_text(text, encoding="utf-8")
    for name, why in stale:
        if why == "is not generated":
            (TARGET / name).unlink()
    if options.igs:
        (TARGET / "ig.lock").write_text(lock(options.igs), encoding="utf-8")
    print(f"{len(files)} files in fhir_profiles/, {len(stale)} changed")
    return 0


def resources() -> Iterator[tuple[str, Resource]]:
    """Every published resource with its place under fhir_profiles/."""
    configuration = load_configuration(ROOT / "config")
    facts = [fact for guideline in configuration.guidelines for fact in guideline.facts.values()]
    answers = answers_system(facts)
    yield from _named(answers, _whole(answers), *answer_value_sets(facts))
    yield from ((f"examples/{name}.json", held) for name, held in examples(configuration.guidelines[0]))
    flags, reasons = flag_system(), reasons_system()
    yield from _named(flags, _whole(flags), reasons, _whole(reasons))
    yield from _named(*extensions(_head))
    yield from _named(*(capability_statement(version) for version in VERSIONS))
    yield from _named(*(_prior_authorization(version) for version in GUIDES))
    yield from questionnaires(configuration)
    yield from _named(requirements(templates([Code(LOINC, "any")])))  # which codes is the guideline's business


def _prior_authorization(version: str) -> Resource:
    """What the PAS base of a version answers."""
    base = f"https://cds.example.org/pas/{version}"
    statement = pas_capability(version, base, "https://cds.example.org/oauth/token", DATE)
    return {"resourceType": statement.pop("resourceType"), "id": f"pas-payer-{version.replace('.', '-')}", **statement}


def questionnaires(configuration: Configuration) -> Iterator[tuple[str, Resource]]:
    """The forms as each DTR base serves them, static and adaptive."""
    public_url = "https://cds.example.org"
    rules = prepare(
        configuration.guidelines,
        configuration.vocabulary,
        configuration.payer,
        configuration.digest,
        Addresses(public_url=public_url),
    )
    for (version, _), written in prepare_forms(rules, public_url).by_canonical.items():
        form = json.loads(written.text)
        yield f"Questionnaire-{form['id']}-dtr-{version}.json", form


def lock(folder: Path) -> str:
    """One line per IG package: sha256 and file name."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in sorted(folder.glob("*.tgz"))]
    return "\n".join(lines) + "\n"


def answers_system(facts: Iterable[Fact]) -> Resource:
    """All choice codes of the coverage questionnaires; a code's display is its shortest text."""
    texts: dict[str, set[str]] = {}
    for held in choice_sets(facts):
        for code, text in held.options:
            texts.setdefault(code, set()).add(text)
    shortest = {code: min(said, key=lambda text: (len(text), text)) for code, said in texts.items()}
    return _code_system(
        "coverage-answers",
        "Answers of the coverage questionnaire",
        "Choice answers of the coverage questionnaires. cannot_determine leaves the fact unknown.",
        [{"code": code, "display": display} for code, display in sorted(shortest.items())],
    )


def answer_value_sets(facts: Iterable[Fact]) -> Iterator[Resource]:
    """One ValueSet per distinct list of choices, named for the first fact that uses it."""
    for held in choice_sets(facts):
        concepts = [{"code": code, "display": text} for code, text in held.options]
        include = {"system": f"{OUR_BASE}/CodeSystem/coverage-answers", "concept": concepts}
        yield _value_set(held.ident, held.title, include)


def flag_system() -> Resource:
    """Flag codes of the determination document."""
    return _code_system(
        "determination-flags",
        "Flags of a determination",
        "Remarks that a person should see beside a determination. Codes may be added; these keep their meaning.",
        [{"code": code, "display": code.replace("_", " "), "definition": text} for code, text in FLAGS.items()],
    )


def reasons_system() -> Resource:
    """Override reasons of the dose card, as cards and feedback carry them."""
    return _code_system(
        "dose-override-reasons",
        "Reasons to go on after a dose warning",
        "Override reasons of the dose card, returned in CDS Hooks feedback.",
        [{"code": code, "display": display} for code, display in OVERRIDE_REASONS],
    )


def requirements(published: Mapping[str, str]) -> Resource:
    """What the service reads of an EHR's FHIR API, from its own prefetch templates."""
    read = [_reading(kind, published[key]) for key, kind in WANTED.items()]
    read += [{"type": kind, "interaction": [{"code": "read"}]} for kind in _SECOND_READS]
    rest = {
        "mode": "client",
        "documentation": "Reads only what prefetch did not hold, in parallel, within the deadline of the hook call.",
        "security": {"description": "Bearer token of fhirAuthorization, for one call; never stored."},
        "resource": sorted(read, key=lambda each: str(each["type"])),
    }
    return {
        **_head("CapabilityStatement", "ehr-requirements", "What the CDS service reads of an EHR"),
        "description": f"FHIR reads and searches of the order-sign service. {NOTICE}",
        "kind": "requirements",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [rest],
    }


def _reading(kind: str, template: str) -> Resource:
    if "?" not in template:
        return {"type": kind, "interaction": [{"code": "read"}]}
    names = [pair.partition("=")[0] for pair in template.partition("?")[2].split("&")]
    types = {"patient": "reference", "code": "token"}
    parameters = [{"name": name, "type": types[name]} for name in names]
    return {"type": kind, "interaction": [{"code": "search-type"}], "searchParam": parameters}


def _head(kind: str, ident: str, title: str) -> Resource:
    return {
        "resourceType": kind,
        "id": ident,
        "url": f"{OUR_BASE}/{kind}/{ident}",
        "version": VERSION,
        "name": "".join(part.capitalize() for part in ident.split("-")),
        "title": title,
        "status": "active",
        "experimental": True,
        "date": DATE,
    }


def _code_system(ident: str, title: str, description: str, concepts: list[Resource]) -> Resource:
    return {
        **_head("CodeSystem", ident, title),
        "description": f"{description} {NOTICE}",
        "caseSensitive": True,
        "valueSet": f"{OUR_BASE}/ValueSet/{ident}",
        "content": "complete",
        "count": len(concepts),
        "concept": concepts,
    }


def _value_set(ident: str, title: str, include: Resource) -> Resource:
    return {**_head("ValueSet", ident, title), "compose": {"include": [include]}}


def _whole(system: Resource) -> Resource:
    return _value_set(system["id"], system["title"], {"system": system["url"]})


def _named(*held: Resource) -> Iterator[tuple[str, Resource]]:
    for resource in held:
        yield f"{resource['resourceType']}-{resource['id']}.json", resource


def _text(resource: Resource) -> str:
    return json.dumps(resource, indent=2, ensure_ascii=False) + "\n"


def _stale(files: Mapping[Path, str]) -> list[tuple[Path, str]]:
    """Files that are missing, differ, or are there although nothing makes them."""
    there = {path.relative_to(TARGET) for path in TARGET.rglob("*.json")}
    stale = [(name, "is missing") for name in files.keys() - there]
    stale += [(name, "is not generated") for name in there - files.keys()]
    stale += [
        (name, "differs") for name in files.keys() & there if (TARGET / name).read_text(encoding="utf-8") != files[name]
    ]
    return sorted(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
