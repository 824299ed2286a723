"""Answers that break an invariant of coverage-information cannot be built."""

from datetime import date
from itertools import product

import pytest

from cds_service.domain.coverage_answer import (
    CoverageAnswer,
    Covered,
    DocNeeded,
    DocPurpose,
    InfoNeeded,
    PaNeeded,
    Reason,
    ReasonCode,
)
from cds_service.fhir.coverage_information import render_coverage_information

CANONICAL = "https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15"
WHY = (Reason("because"),)


def build(**changes):
    legal = {"covered": Covered.COVERED, "pa_needed": PaNeeded.AUTH_NEEDED}
    return CoverageAnswer(**(legal | changes))


@pytest.mark.parametrize(
    ("broken", "changes"),
    [
        pytest.param("q1", {"questionnaires": (CANONICAL,)}, id="128 questionnaire without doc-needed"),
        pytest.param("q2", {"covered": Covered.NOT_COVERED}, id="129 not covered, yet authorization needed"),
        pytest.param("q2", {"pa_needed": None}, id="129 covered, and nothing said of authorization"),
        pytest.param("q3", {"covered": Covered.CONDITIONAL, "reasons": WHY}, id="130 conditional on nothing"),
        pytest.param("q3", {"pa_needed": PaNeeded.CONDITIONAL, "reasons": WHY}, id="130 pa conditional on nothing"),
        pytest.param("q3", {"doc_needed": DocNeeded.CONDITIONAL}, id="130 documentation conditional on nothing"),
        pytest.param("q3", {"info_needed": (InfoNeeded.PERFORMER,)}, id="130 nothing depends on the performer"),
        pytest.param(
            "q4",
            {
                "pa_needed": PaNeeded.NO_AUTH,
                "doc_needed": DocNeeded.CLINICAL,
                "doc_purpose": (DocPurpose.WITH_PA,),
                "reasons": WHY,
            },
            id="131 documents for an authorization that is not needed",
        ),
        pytest.param(
            "q4",
            {
                "pa_needed": PaNeeded.SATISFIED,
                "satisfied_pa_id": "PA-1",
                "doc_needed": DocNeeded.CLINICAL,
                "doc_purpose": (DocPurpose.WITH_PA,),
                "reasons": WHY,
            },
            id="131 documents for an authorization that is granted",
        ),
        pytest.param("q5", {"pa_needed": PaNeeded.SATISFIED}, id="132 satisfied without a number"),
        pytest.param("q5", {"satisfied_pa_id": "PA-1"}, id="132 a number without satisfied"),
        pytest.param(
            "q6", {"covered": Covered.CONDITIONAL, "info_needed": (InfoNeeded.OTHER,)}, id="133 other, but not what"
        ),
        pytest.param("q7", {"reasons": (Reason(" "),)}, id="134 reason without text"),
        pytest.param(
            "q7", {"reasons": (Reason("", ReasonCode.TECHNICAL),)}, id="134 a code alone says nothing before 2.2"
        ),
        pytest.param(
            "q8",
            {"doc_needed": DocNeeded.CLINICAL, "doc_purpose": (DocPurpose.WITH_PA,)},
            id="135 documents without a reason",
        ),
        pytest.param(
            "q9",
            {"covered": Covered.INDETERMINATE, "pa_needed": PaNeeded.INDETERMINATE},
            id="136 indeterminate without a reason",
        ),
        pytest.param(
            "doc-purpose only", {"doc_purpose": (DocPurpose.WITH_ORDER,), "reasons": WHY}, id="purpose of no document"
        ),
        pytest.param(
            "questionnaires are versioned",
            {
                "doc_needed": DocNeeded.CLINICAL,
                "doc_purpose": (DocPurpose.WITH_PA,),
                "reasons": WHY,
                "questionnaires": ("https://cds.example.org/fhir/Questionnaire/09-J1000-31",),
            },
            id="151 questionnaire without version",
        ),
    ],
)
def test_crd_128_to_136_illegal_answers_cannot_be_built(broken, changes):
    with pytest.raises(ValueError, match=broken):
        build(**changes)


def _every_combination():
    return product(
        Covered,
        [None, *PaNeeded],
        [None, *DocNeeded],
        [(), (DocPurpose.WITH_PA,)],
        [(), (InfoNeeded.OTHER,)],
        [(), WHY],
        [(), (CANONICAL,)],
        ["", "PA-1"],
    )


def _built():
    for covered, pa, doc, purpose, info, reasons, forms, number in _every_combination():
        try:
            yield CoverageAnswer(
                covered=covered,
                pa_needed=pa,
                doc_needed=doc,
                doc_purpose=purpose,
                info_needed=info,
                reasons=reasons,
                questionnaires=forms,
                satisfied_pa_id=number,
            )
        except ValueError:
            continue


def _values(extension):
    found = {}
    for part in extension["extension"]:
        value = next((part[key] for key in part if key.startswith("value")), None)
        found.setdefault(part["url"], []).append(value)
    return found


# The IGs' own expressions, written again in Python from crd-ci-q1 ... q9 of each package.
def _legal_in_2_0(e):
    words = [*e["covered"], *e.get("pa-needed", []), *e.get("doc-needed", [])]
    return (
        ("questionnaire" not in e or "doc-needed" in e)
        and (e["covered"] == ["not-covered"] or "pa-needed" in e)
        and ("info-needed" not in e or "conditional" in words)
        and ((e.get("pa-needed") == ["satisfied"]) == ("satisfied-pa-id" in e))
        and len(e.get("doc-needed", [])) <= 1
        and "indeterminate" not in words
    )


def _legal_in_2_2(e):
    words = [*e["covered"], *e.get("pa-needed", []), *e.get("doc-needed", [])]
    return (
        ("questionnaire" not in e or "doc-needed" in e)
        and not (e["covered"] == ["not-covered"] and "pa-needed" in e)
        and ("conditional" not in words or "info-needed" in e)
        and not (e.get("pa-needed") in (["satisfied"], ["no-auth"]) and "withpa" in e.get("doc-purpose", []))
        and ((e.get("pa-needed") == ["satisfied"]) == ("satisfied-pa-id" in e))
        and ("OTH" not in e.get("info-needed", []) or "reason" in e)
        and all(reason.get("text") for reason in e.get("reason", []))
        and ("doc-purpose" not in e or "reason" in e)
        and ("indeterminate" not in words or "reason" in e)
    )


def test_crd_128_to_136_whatever_can_be_built_is_legal_in_both_versions():
    seen = 0
    for answer in _built():
        rendered = {}
        for version in ("2.0", "2.2"):
            if version == "2.0" and Covered.INDETERMINATE is answer.covered:
                continue
            if version == "2.0" and PaNeeded.INDETERMINATE is answer.pa_needed:
                continue
            rendered[version] = _values(
                render_coverage_information(
                    answer, coverage="Coverage/1", assertion_id="a", day="2026-03-02", version=version
                )
            )
        assert _legal_in_2_2(rendered["2.2"]), answer
        assert "2.0" not in rendered or _legal_in_2_0(rendered["2.0"]), answer
        seen += 1
    assert seen > 50  # the walk really builds answers


def test_a_full_answer_is_legal():
    answer = build(
        pa_needed=PaNeeded.SATISFIED, satisfied_pa_id="PA-1", expiry=date(2026, 12, 31), reasons=(Reason("granted"),)
    )
    assert answer.satisfied_pa_id == "PA-1"
