"""Questionnaires of the published packages: each is shown, or refused with a reason (AP-11, AP-34)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cds_service.fhir.json import parse
from smart_app.sdc.context import nothing_known
from smart_app.sdc.filling import from_bytes, to_bytes
from smart_app.sdc.form import read_form
from smart_app.sdc.populate import populate, start
from smart_app.sdc.response import from_response, to_response
from smart_app.sdc.shapes import Form, UnusableQuestionnaire
from smart_app.sdc.view import view
from tests.support.sdc_forms import context

PACKAGES = ["hl7.fhir.us.davinci-dtr-2.0.1", "hl7.fhir.uv.sdc-4.0.0-ballot"]
# Parts of a form that somebody has to put together first.
PARTS = {"sdc-modular-contact", "sdc-modular-name", "sdc-modular-root"}


def examples(package: Path) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """Every questionnaire of a package's examples, with the value sets beside it."""
    with tarfile.open(package) as archive:
        for member in archive:
            stream = archive.extractfile(member) if "/example/" in member.name else None
            body = stream.read() if stream else b""
            if b'"Questionnaire"' in body:
                found = list(resources(parse(body, max_bytes=10**8)))
                sets = [one for one in found if one["resourceType"] == "ValueSet"]
                for one in found:
                    if one["resourceType"] == "Questionnaire":
                        yield one.get("id", member.name), one, sets


def resources(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("resourceType"), str):
            yield value
        for part in value.values():
            yield from resources(part)
    elif isinstance(value, list):
        for part in value:
            yield from resources(part)


def used(form: Form) -> None:
    """Filled in, shown, kept, written, read again: nothing is lost on the way."""
    done = populate(form, start(form), context(), nothing_known)
    shown = view(form, done.filling, done.context)
    assert shown.title
    assert from_bytes(to_bytes(done.filling)) == done.filling
    head = {"status": "in-progress"}
    made = to_response(form, done.filling, done.context, head, only_enabled=False)
    again = to_response(form, from_response(form, made), done.context, head, only_enabled=False)
    encode = msgspec.json.Encoder(decimal_format="number").encode
    assert encode(again) == encode(made)


@pytest.mark.shared
@pytest.mark.parametrize("package", PACKAGES)
def test_AP34_every_published_questionnaire_is_shown_or_refused_with_a_reason(shared_dir: Path, package: str) -> None:
    shown = 0
    for name, raw, sets in examples(shared_dir / "igs" / f"{package}.tgz"):
        if name in PARTS:
            with pytest.raises(UnusableQuestionnaire, match="assemble"):
                read_form(raw, sets)
            continue
        used(read_form(raw, sets))
        shown += 1
    assert shown >= 8


EXPECTED = {
    # the guide's own example: a key, and what is to be filled in there for the sample patient
    "questionnaire-sdc-test-fhirpath-prepop-initialexpression": {"valueDate": "1970-11-23"},
    "demographics": {"valueDate": "1970-11-23"},
}


@pytest.mark.shared
@pytest.mark.parametrize("name", EXPECTED)
def test_SD05_the_guides_examples_are_filled_in(shared_dir: Path, name: str) -> None:
    package = shared_dir / "igs" / "hl7.fhir.uv.sdc-4.0.0-ballot.tgz"
    (found,) = [(raw, sets) for ident, raw, sets in examples(package) if ident == name]
    form = read_form(*found)
    done = populate(form, start(form), context(), nothing_known)
    assert EXPECTED[name] in [value for state in done.filling.states.values() for value in state.values]
