"""Whatever the payer sends is FHIR, and DTR 2.0.1's own where the guide's package is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cds_service.fhir.models import complaints
from tests.dtr.conftest import Dtr
from tests.support import e2e_patient as sample
from tests.support.dtr_calls import ADAPTIVE, CANONICAL, VERSIONS, of_type, packages
from tests.support.structure_definitions import profile, violations

IG = "igs/hl7.fhir.us.davinci-dtr-2.0.1.tgz"
HELD = {"life_expectancy_ge_3_months": "yes"}


def sent(dtr: Dtr, version: str, asked: str) -> list[dict[str, Any]]:
    context = dtr.context(held=sample.chart(HELD))["context"]
    answers = [dtr.package(version, context=context, questionnaire=asked), dtr.package(version, questionnaire=asked)]
    assert all(complaints(answer.json) == () for answer in answers)
    found = [bundle for answer in answers for bundle in packages(answer, version)]
    return [one for one in found if of_type(one, "Questionnaire")[0]["url"] == asked.partition("|")[0]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("asked", [CANONICAL, ADAPTIVE])
def test_PS10_what_is_sent_is_fhir(dtr: Dtr, version: str, asked: str) -> None:
    bundles = sent(dtr, version, asked)
    assert len(bundles) == 2
    if asked == ADAPTIVE:
        for bundle in bundles:
            answer = dtr.post("next-question", of_type(bundle, "QuestionnaireResponse")[0], version)
            assert complaints(answer.json) == ()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("asked", "form", "response"),
    [
        (CANONICAL, "dtr-std-questionnaire", "dtr-questionnaireresponse"),
        (ADAPTIVE, "dtr-questionnaire-adapt-search", None),
    ],
)
def test_PS10_PS14_PS17_what_is_sent_conforms_to_dtr_2_0_1(
    dtr: Dtr, shared_dir: Path, asked: str, form: str, response: str | None
) -> None:
    for bundle, known in zip(sent(dtr, "2.0.1", asked), (True, False), strict=True):
        assert violations(bundle, profile(shared_dir / IG, "DTR-QPackageBundle"), {}) == []
        assert violations(of_type(bundle, "Questionnaire")[0], profile(shared_dir / IG, form), {}) == []
        draft = of_type(bundle, "QuestionnaireResponse")[0]
        if response:
            # A canonical alone names no order, so there is no second thing to link to; the app adds it.
            unlinked = [] if known else ["QuestionnaireResponse.extension:context: 1 of at least 2"]
            assert violations(draft, profile(shared_dir / IG, response), {}) == unlinked


@pytest.mark.shared
def test_PS28_the_form_inside_conforms_to_dtr_2_0_1(dtr: Dtr, shared_dir: Path) -> None:
    for bundle in sent(dtr, "2.0.1", ADAPTIVE):
        answer = dtr.post("next-question", of_type(bundle, "QuestionnaireResponse")[0], "2.0.1").json
        assert violations(answer["contained"][0], profile(shared_dir / IG, "dtr-questionnaire-adapt"), {}) == []
