"""The coverage-information extension, form by form."""

import json
import tarfile
from datetime import date
from fractions import Fraction

import msgspec
import pytest

from cds_service.domain.coverage_answer import (
    Amount,
    CoverageAnswer,
    Covered,
    Detail,
    DetailCode,
    DocNeeded,
    DocPurpose,
    InfoNeeded,
    PaNeeded,
    Reason,
    ReasonCode,
    Span,
)
from cds_service.domain.record import Code
from cds_service.fhir.coverage_information import URL, render_coverage_information

HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
GRANTED = CoverageAnswer(
    covered=Covered.COVERED,
    pa_needed=PaNeeded.SATISFIED,
    satisfied_pa_id="PA-1",
    expiry=date(2026, 12, 31),
    billing=(Code(HCPCS, "J3490"),),
    details=(
        Detail(DetailCode.ALLOWED_PERIOD, Span(date(2026, 1, 1), date(2026, 12, 31))),
        Detail(DetailCode.ALLOWED_QUANTITY, Amount(Fraction(3, 2), "mg/d"), "clonidine, daily amount"),
        Detail(DetailCode.INSTRUCTIONS, "Keep the record."),
    ),
)
DOCUMENTED = CoverageAnswer(
    covered=Covered.COVERED,
    pa_needed=PaNeeded.AUTH_NEEDED,
    doc_needed=DocNeeded.CLINICAL,
    doc_purpose=(DocPurpose.WITH_PA,),
    questionnaires=("https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15",),
    reasons=(Reason("Two facts are missing."),),
)


def render(answer, version):
    extension = render_coverage_information(
        answer, coverage="Coverage/cov-1", assertion_id="as-1", day="2026-03-02", version=version
    )
    return msgspec.json.decode(msgspec.json.encode(extension))


def parts(extension, url):
    return [part for part in extension["extension"] if part["url"] == url]


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_crd_b7_what_is_alike_in_both_versions(version):
    extension = render(DOCUMENTED, version)
    assert extension["url"] == URL
    assert [{key: part[key] for key in part} for part in extension["extension"]] == [
        {"url": "coverage", "valueReference": {"reference": "Coverage/cov-1"}},
        {"url": "covered", "valueCode": "covered"},
        {"url": "pa-needed", "valueCode": "auth-needed"},
        {"url": "doc-needed", "valueCode": "clinical"},
        {"url": "doc-purpose", "valueCode": "withpa"},
        {"url": "reason", "valueCodeableConcept": {"text": "Two facts are missing."}},
        {
            "url": "questionnaire",
            "valueCanonical": "https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15",
        },
        {"url": "date", "valueDate": "2026-03-02"},
        {"url": "coverage-assertion-id", "valueString": "as-1"},
    ]


def test_crd_b7_detail_has_a_category_from_2_2_only():
    for detail in parts(render(GRANTED, "2.0"), "detail"):
        assert not parts(detail, "category")
    categories = [parts(detail, "category")[0]["valueCode"] for detail in parts(render(GRANTED, "2.2"), "detail")]
    assert categories == ["cat-limitation", "cat-limitation", "cat-other"]


def test_crd_b7_detail_code_system_by_version():
    codes = {
        version: [parts(each, "code")[0]["valueCodeableConcept"] for each in parts(render(GRANTED, version), "detail")]
        for version in ("2.0", "2.2")
    }
    temp = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
    assert codes["2.0"][0] == {"coding": [{"system": temp, "code": "allowed-period"}]}
    assert codes["2.0"][2] == {"text": "instructions"}  # 2.0.1 has no such code; its binding is extensible
    assert codes["2.2"][2]["coding"][0] == {
        "system": "http://terminology.hl7.org/CodeSystem/crd-coverage-detail",
        "code": "instructions",
    }


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_crd_146_limits_are_stated_with_exact_numbers(version):
    period, quantity, _ = parts(render(GRANTED, version), "detail")
    assert parts(period, "value")[0]["valuePeriod"] == {"start": "2026-01-01", "end": "2026-12-31"}
    raw = msgspec.json.encode(
        render_coverage_information(GRANTED, coverage="C/1", assertion_id="a", day="2026-03-02", version=version)
    )
    assert b'"value":1.5,' in raw
    assert parts(quantity, "value")[0]["valueQuantity"]["code"] == "mg/d"
    assert parts(quantity, "qualification")[0]["valueString"] == "clonidine, daily amount"


def test_an_open_period_has_no_end():
    open_end = CoverageAnswer(
        covered=Covered.COVERED,
        pa_needed=PaNeeded.NO_AUTH,
        details=(Detail(DetailCode.ALLOWED_PERIOD, Span(date(2026, 1, 1), None)),),
    )
    detail = parts(render(open_end, "2.2"), "detail")[0]
    assert parts(detail, "value")[0]["valuePeriod"] == {"start": "2026-01-01"}


def test_crd_154_expiry_date_from_2_2_only():
    assert parts(render(GRANTED, "2.2"), "expiry-date")[0]["valueDate"] == "2026-12-31"
    assert not parts(render(GRANTED, "2.0"), "expiry-date")


def test_crd_156_billing_codes_are_visible():
    assert parts(render(GRANTED, "2.0"), "billingCode")[0]["valueCoding"] == {"system": HCPCS, "code": "J3490"}


def test_crd_149_reason_is_coded_from_2_2_and_text_before():
    ended = CoverageAnswer(
        covered=Covered.NOT_COVERED,
        pa_needed=None,
        reasons=(Reason("The coverage has ended.", ReasonCode.NO_ACTIVE_COVERAGE),),
    )
    assert parts(render(ended, "2.0"), "reason")[0]["valueCodeableConcept"] == {"text": "The coverage has ended."}
    coded = parts(render(ended, "2.2"), "reason")[0]["valueCodeableConcept"]
    assert coded["coding"][0]["code"] == "no-active-coverage"
    assert not parts(render(ended, "2.2"), "pa-needed")


def test_crd_148_indeterminate_has_no_2_0_form():
    technical = CoverageAnswer(
        covered=Covered.INDETERMINATE,
        pa_needed=PaNeeded.INDETERMINATE,
        reasons=(Reason("The EHR did not answer.", ReasonCode.TECHNICAL),),
    )
    assert parts(render(technical, "2.2"), "covered")[0]["valueCode"] == "indeterminate"
    with pytest.raises(ValueError, match="indeterminate"):
        render(technical, "2.0")


def test_crd_130_info_needed_travels():
    open_question = CoverageAnswer(
        covered=Covered.CONDITIONAL,
        pa_needed=PaNeeded.CONDITIONAL,
        info_needed=(InfoNeeded.OTHER,),
        reasons=(Reason("The route is missing."),),
    )
    assert parts(render(open_question, "2.0"), "info-needed")[0]["valueCode"] == "OTH"


def test_unknown_versions_are_refused():
    with pytest.raises(KeyError):
        render(DOCUMENTED, "2.1")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("version", "package"),
    [("2.0", "hl7.fhir.us.davinci-crd-2.0.1.tgz"), ("2.2", "hl7.fhir.us.davinci-crd-2.2.0-preview.tgz")],
)
def test_crd_t1_only_parts_that_the_version_defines(shared_dir, version, package):
    """Trap T1: the parts that we send, and their value types, are those of the IG's own StructureDefinition."""
    with tarfile.open(shared_dir / "igs" / package) as archive:
        file = archive.extractfile("package/StructureDefinition-ext-coverage-information.json")
        definition = json.load(file)
    types, fixed = {}, {}
    for element in definition["snapshot"]["element"]:
        ident = element["id"]
        if ident.endswith(".value[x]"):
            types[ident.removesuffix(".value[x]")] = {each["code"] for each in element.get("type", [])}
        if element.get("min") and ident.count(":") == 2 and ident.count(".") == 2:
            fixed.setdefault(ident.split(".")[1], set()).add(ident.rsplit(":", 1)[1])
    for answer in (GRANTED, DOCUMENTED):
        for part in render(answer, version)["extension"]:
            where = f"Extension.extension:{part['url']}"
            _check(types, where, part)
            for inner in part.get("extension", []):
                _check(types, f"{where}.extension:{inner['url']}", inner)
            if part["url"] == "detail":
                assert fixed["extension:detail"] <= {inner["url"] for inner in part["extension"]}


def _check(types, where, part):
    assert where in types, where
    values = [key.removeprefix("value") for key in part if key.startswith("value")]
    for value in values:
        assert value.lower() in {each.lower() for each in types[where]}, (where, value)
