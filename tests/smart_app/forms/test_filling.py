"""Filling in and signing: as a browser without a script does it."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any

import pytest

from tests.support.foreign_payer import ForeignPayer, package, questionnaire
from tests.support.form_visit import ORDER, FormVisit, answers_of, origin_of
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_ehr import outcome as ehr_outcome

CODES = "urn:example:codes"
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition"
CORE = "http://hl7.org/fhir/StructureDefinition"


def option(code: str, text: str) -> dict[str, Any]:
    return {"valueCoding": {"system": CODES, "code": code, "display": text}}


def unit(code: str) -> dict[str, Any]:
    coding = {"system": "http://unitsofmeasure.org", "code": code, "display": code}
    return {"url": f"{CORE}/questionnaire-unitOption", "valueCoding": coding}


def control(code: str) -> dict[str, Any]:
    coding = {"system": "http://hl7.org/fhir/questionnaire-item-control", "code": code}
    return {"url": f"{CORE}/questionnaire-itemControl", "valueCodeableConcept": {"coding": [coding]}}


FEW = [option("a", "Alpha"), option("b", "Beta")]
MANY = [option(f"o{n}", f"Option {n}") for n in range(9)]

# item, the fields that a browser sends, the answers that are saved
TYPES: list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = [
    ({"type": "boolean"}, {"a:q": "true"}, [{"valueBoolean": True}]),
    ({"type": "decimal"}, {"a:q": "1.20"}, [{"valueDecimal": 1.2}]),
    ({"type": "integer"}, {"a:q": "12"}, [{"valueInteger": 12}]),
    ({"type": "date"}, {"a:q": "2026-11-02"}, [{"valueDate": "2026-11-02"}]),
    (
        {"type": "dateTime"},
        {"a:q": "2026-11-02T14:30", "z:q": "-05:00"},
        [{"valueDateTime": "2026-11-02T14:30:00-05:00"}],
    ),
    ({"type": "time"}, {"a:q": "14:30"}, [{"valueTime": "14:30:00"}]),
    ({"type": "string"}, {"a:q": "a line"}, [{"valueString": "a line"}]),
    ({"type": "text"}, {"a:q": "two\r\nlines"}, [{"valueString": "two\nlines"}]),
    ({"type": "url"}, {"a:q": "https://example.org/x"}, [{"valueUri": "https://example.org/x"}]),
    ({"type": "choice", "answerOption": FEW}, {"a:q": "@1"}, [FEW[1]]),  # radios
    ({"type": "choice", "answerOption": MANY}, {"a:q": "@8"}, [MANY[8]]),  # a list
    ({"type": "choice", "answerOption": FEW, "repeats": True}, {"a:q": ["@0", "@1"]}, FEW),  # checkboxes
    ({"type": "choice", "answerOption": FEW, "extension": [control("drop-down")]}, {"a:q": "@0"}, [FEW[0]]),
    ({"type": "open-choice", "answerOption": FEW}, {"w:q": "something else"}, [{"valueString": "something else"}]),
    ({"type": "open-choice", "answerOption": FEW}, {"a:q": "@0"}, [FEW[0]]),
    (
        {"type": "quantity", "extension": [unit("mg"), unit("ug")]},
        {"a:q": "2.5", "u:q": "ug"},
        [{"valueQuantity": {"value": 2.5, "unit": "ug", "system": "http://unitsofmeasure.org", "code": "ug"}}],
    ),
    ({"type": "quantity", "extension": [unit("mg")]}, {"a:q": "2"}, [
        {"valueQuantity": {"value": 2, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}},
    ]),
    (
        {"type": "reference"},
        {"a:q": 'reference:{"reference":"Practitioner/doc-1","display":"Dr. Sam Sample"}'},
        [{"valueReference": {"reference": "Practitioner/doc-1", "display": "Dr. Sam Sample"}}],
    ),
    (
        {"type": "choice", "answerValueSet": "https://payer.example.net/ValueSet/large"},
        {"a:q": 'coding:{"system":"urn:example:codes","code":"z9","display":"Zeta"}'},
        [option("z9", "Zeta")],
    ),
    ({"type": "string", "repeats": True}, {"a:q": ["one", "two"]}, [{"valueString": "one"}, {"valueString": "two"}]),
]  # fmt: skip


def keys_of(page: str) -> list[str]:
    """The option keys that the page offers, in order."""
    found = []
    for piece in page.split('name="a:q"')[1:]:
        value = piece.split('value="', 1)[1].split('"')[0] if 'value="' in piece else ""
        found.append(value)
    if "<select" in page and 'name="a:q"' in page:
        select = page.split('name="a:q"')[1].split("</select>", maxsplit=1)[0]
        found = [piece.split('"')[0] for piece in select.split('<option value="')[1:]][1:]
    return found


@pytest.mark.parametrize(("item", "fields", "expected"), TYPES)
def test_AP11_every_type_of_item_is_shown_answered_and_saved(
    visit: FormVisit, payer: ForeignPayer, item: Any, fields: Any, expected: Any
) -> None:
    payer.packages = [package(questionnaire({"linkId": "q", "text": "The question", **item}))]
    page = visit.open()
    assert "The question" in page
    offered = keys_of(page)
    named = {
        name: [
            offered[int(text[1:])] if text.startswith("@") else text
            for text in (value if isinstance(value, list) else [value])
        ]
        for name, value in fields.items()
    }
    visit.press("save", named)
    saved = answers_of(visit.saved)["q"]
    assert [{k: v for k, v in each.items() if k != "extension"} for each in saved] == expected
    assert [origin_of(each) for each in saved] == ["manual"] * len(expected)
    # The page shows what was saved, so that a second save changes nothing.
    visit.press("save")
    assert answers_of(visit.saved)["q"] == saved


def test_AP11_a_file_is_attached_kept_and_removed(visit: FormVisit, payer: ForeignPayer) -> None:
    limits = [{"url": f"{CORE}/mimeType", "valueCode": "application/pdf"}]
    payer.packages = [
        package(questionnaire({"linkId": "q", "type": "attachment", "text": "Letter", "extension": limits}))
    ]
    visit.open()
    visit.press("save", files={"f:q": (b"%PDF-1.7", "letter.pdf", "application/pdf")})
    attachment = answers_of(visit.saved)["q"][0]["valueAttachment"]
    assert (attachment["title"], base64.b64decode(attachment["data"])) == ("letter.pdf", b"%PDF-1.7")
    assert "letter.pdf" in visit.page
    visit.press("save")  # nothing chosen: it stays
    assert answers_of(visit.saved)["q"]
    visit.press("check", files={"f:q": (b"MZ", "x.exe", "application/x-msdownload")})
    assert visit.status == 422
    assert "This kind of file is not accepted here. Allowed: application/pdf." in visit.page
    visit.press("save", {"x:q": "1"})
    assert answers_of(visit.saved) == {}


def test_AP11_rows_are_added_and_removed_without_a_script(visit: FormVisit, payer: ForeignPayer) -> None:
    inner = {"linkId": "drug", "type": "string", "text": "Drug"}
    payer.packages = [
        package(questionnaire({"linkId": "tried", "type": "group", "text": "Tried", "repeats": True, "item": [inner]}))
    ]
    visit.open()
    visit.press("add:tried", {"a:tried[1]/drug": "first"})
    visit.press("save", {"a:tried[2]/drug": "second"})
    assert [a["valueString"] for a in answers_of(visit.saved)["drug"]] == ["first", "second"]
    visit.press("remove:tried[1]")
    visit.press("save")
    assert [a["valueString"] for a in answers_of(visit.saved)["drug"]] == ["second"]


def test_AP11_help_links_prefix_and_markup_are_shown_and_markup_is_harmless(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    xhtml = {"url": f"{CORE}/rendering-xhtml", "valueString": "<b>Bold</b><script>alert(1)</script>"}
    link = {"url": f"{CORE}/questionnaire-supportLink", "valueUri": "https://payer.example.net/help"}
    payer.packages = [
        package(
            questionnaire(
                {"linkId": "q", "type": "string", "prefix": "7a", "text": "Bold", "_text": {"extension": [xhtml]},
                 "extension": [link]},
                {"linkId": "r", "type": "string", "text": "<img src=x onerror=alert(1)>", "extension": [link]},
            )
        )
    ]  # fmt: skip
    page = visit.open()
    assert "<b>Bold</b>" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert '<span class="prefix">7a</span>' in page
    assert page.count('href="https://payer.example.net/help"') == 1  # the same link once
    assert "Read more at the payer" in page


def test_AP19_a_wrong_value_is_shown_back_at_its_field_and_blocks_only_the_signature(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    payer.packages = [package(questionnaire({"linkId": "q", "type": "decimal", "text": "Weeks", "required": True}))]
    visit.open()
    visit.press("save", {"a:q": "six"})
    assert visit.status == 200
    assert 'value="six"' in visit.page
    visit.press("sign")
    assert visit.status == 422
    assert 'href="#q-q"' in visit.page
    assert 'id="q-q"' in visit.page
    assert 'aria-invalid="true"' in visit.page
    assert visit.saved["status"] == "in-progress"


def test_AP19_what_is_only_missing_is_no_error_before_somebody_signs(visit: FormVisit, payer: ForeignPayer) -> None:
    """Nor is a form with an empty required group ready."""
    rows = {"linkId": "r", "type": "group", "repeats": True, "required": True, "text": "Trials"}
    inner = [{"linkId": "a", "type": "string", "text": "Which"}]
    kind = {"linkId": "g", "type": "group", "required": True, "text": "Pump", "item": [{**inner[0], "linkId": "b"}]}
    payer.packages = [package(questionnaire({**rows, "item": inner}, kind))]
    page = visit.open()
    assert "Fill in at least 1 entry here." not in page
    assert "2 questions left" in page
    page = visit.press("sign")
    assert page.count("Fill in at least 1 entry here.") == 2
    for key in ("q-r", "q-g"):
        assert page.count(f'id="{key}"') == page.count(f'href="#{key}"') == 1
    visit.press("check", {"a:r[1]/a": "x", "a:g/b": "y"})
    assert "Ready to sign" in visit.page


def test_AP20_a_question_appears_with_the_answer_that_it_depends_on(visit: FormVisit, payer: ForeignPayer) -> None:
    more = {
        "linkId": "more", "type": "string", "text": "Which one?",
        "enableWhen": [{"question": "q", "operator": "=", "answerBoolean": True}],
    }  # fmt: skip
    payer.packages = [package(questionnaire({"linkId": "q", "type": "boolean", "text": "Any?"}, more))]
    assert "Which one?" not in visit.open()
    assert "Which one?" in visit.press("check", {"a:q": "true"})
    # the script's way: the body alone comes back
    fragment = visit.press("check", {"a:q": "false"}, **{"X-Fragment": "1"})
    assert "<html" not in fragment
    assert 'name="version"' in fragment
    assert "Which one?" not in fragment


PREFILLED = {
    "resourceType": "QuestionnaireResponse",
    "status": "in-progress",
    "item": [
        {
            "linkId": "weeks",
            "answer": [
                {
                    "valueDecimal": 10,
                    "extension": [
                        {
                            "url": "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/information-origin",
                            "extension": [{"url": "source", "valueCode": "auto"}],
                        },
                        {
                            "url": "https://cds.example.org/fhir/StructureDefinition/answer-evidence",
                            "extension": [
                                {"url": "source", "valueString": ORDER},
                                {"url": "date", "valueString": "2026-11-20"},
                                {"url": "shows", "valueString": "Morphine, 70 days"},
                            ],
                        },
                    ],
                }
            ],
        }
    ],
}
WEEKS = {"linkId": "weeks", "type": "decimal", "text": "How many weeks?", "required": True}
WHY = {"linkId": "why", "type": "string", "text": "Why?", "required": True}


def test_AP18_what_is_known_stands_apart_with_evidence_can_be_changed_and_keeps_both(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    payer.packages = [package(questionnaire(WEEKS, WHY), draft=PREFILLED)]
    visit.open()
    needs, known = visit.page.split("Already answered")
    assert "Why?" in needs
    assert "How many weeks?" not in needs
    assert "How many weeks?" in known
    assert "Morphine, 70 days" in known
    visit.press("save", {"a:weeks": "8"})
    (answer,) = answers_of(visit.saved)["weeks"]
    assert (answer["valueDecimal"], origin_of(answer)) == (8, "override")
    assert "Before: <strong>10</strong>" in visit.page
    assert "How many weeks?" in visit.page.split("Already answered")[1]  # it does not jump


def test_AP18_evidence_is_shown_with_what_when_and_by_whom(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    ehr.resources[ORDER]["requester"] = {"reference": "Practitioner/doc-1", "display": "Dr. Sam Sample"}
    payer.packages = [package(questionnaire(WEEKS), draft=PREFILLED)]
    visit.open()
    page = visit.get(f"{visit.path}/evidence?at=weeks&i=0")
    for words in ("morphine 20 mg/mL", "2026-11-20", "Dr. Sam Sample", ORDER):
        assert words in page
    assert "This form is not open here" in visit.get(visit.path.partition("?")[0] + "?at=weeks&i=7")


def test_AP18_a_full_form_is_signed_with_one_press(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire(WEEKS), draft=PREFILLED)]
    visit.open()
    assert "Ready to sign" in visit.page
    visit.press("sign")
    assert visit.path.endswith("/summary")
    assert visit.saved["status"] == "completed"
    assert origin_of(answers_of(visit.saved)["weeks"][0]) == "auto"


def test_SD15_looking_again_shows_what_would_change_and_takes_what_is_ticked(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    def asking(path: str) -> dict[str, Any]:
        expression = {"language": "text/fhirpath", "expression": f"%seen.{path}"}
        return {"url": f"{SDC}/sdc-questionnaire-initialExpression", "valueExpression": expression}

    query = {"name": "seen", "language": "application/x-fhir-query", "expression": "Encounter/enc-1"}
    seen = {"url": f"{CORE}/variable", "valueExpression": query}
    items = [
        {"linkId": "status", "type": "string", "text": "Visit is", "extension": [asking("status")]},
        {"linkId": "id", "type": "string", "text": "Visit number", "extension": [asking("identifier.value")]},
    ]
    payer.packages = [package(questionnaire(*items, extension=[seen]))]
    ehr.resources["Encounter/enc-1"]["identifier"] = [{"value": "V-1"}]
    visit.open()
    visit.press("check", {"a:id": "typed by hand"})
    ehr.resources["Encounter/enc-1"] |= {"status": "finished", "identifier": [{"value": "V-2"}]}
    page = visit.press("refill")
    assert "in-progress" in page
    assert "finished" in page
    assert page.count("checked") == 1  # the person's own answer is not ticked
    visit.post(f"/l/{visit.launch_id}/form/1/refill", {"take": "status"})
    visit.press("save")
    held = answers_of(visit.saved)
    assert held["status"][0]["valueString"] == "finished"
    assert held["id"][0]["valueString"] == "typed by hand"
    assert "It says nothing new." not in visit.press("refill")  # the other difference is still there
    visit.post(f"/l/{visit.launch_id}/form/1/refill", {"take": "id"})
    assert "It says nothing new." in visit.press("refill")


def test_AP11_a_file_of_some_megabytes_is_taken(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire({"linkId": "q", "type": "attachment", "text": "Letter"}))]
    visit.open()
    visit.press("save", files={"f:q": (b"x" * 3_000_000, "scan.pdf", "application/pdf")})
    assert answers_of(visit.saved)["q"][0]["valueAttachment"]["size"] == 3_000_000
    visit.press("check", files={"f:q": (b"x" * 5_000_001, "scan.pdf", "application/pdf")})
    assert "larger than 5000 kB" in visit.page


SIGNED = {
    "url": f"{CORE}/questionnaire-signatureRequired",
    "valueCodeableConcept": {"coding": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}]},
}


def test_AP28_a_form_that_asks_for_a_signature_gets_one(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire(WHY, extension=[SIGNED]))]
    visit.open()
    visit.press("check", {"a:why": "because"})
    visit.press("sign")
    (signature,) = [e["valueSignature"] for e in visit.saved["extension"] if e["url"].endswith("-signature")]
    assert signature["who"]["reference"] == "Practitioner/doc-1"
    assert base64.b64decode(signature["data"]).count(b".") == 2


def test_AP28_an_item_that_asks_for_its_own_signature_gets_it(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire({**WHY, "extension": [SIGNED]}))]
    visit.open()
    visit.press("check", {"a:why": "because"})
    visit.press("sign")
    assert not [e for e in visit.saved["extension"] if e["url"].endswith("-signature")]
    assert visit.saved["item"][0]["extension"][0]["url"].endswith("questionnaireresponse-signature")


@pytest.mark.parametrize(
    "text", ["<svg onload=alert(1)>", "{{7*7}}", "=cmd()", "\u202egnp.exe", "';--", "a" * 9_000, "</textarea><script>"]
)
def test_bad_input_110_an_answer_is_shown_as_text_wherever_it_is_shown(
    visit: FormVisit, payer: ForeignPayer, text: str
) -> None:
    payer.packages = [package(questionnaire({**WHY, "type": "text"}))]
    visit.open()
    visit.press("save", {"a:why": text})
    assert visit.fields()["a:why"] == text  # as the browser reads the page
    assert answers_of(visit.saved)["why"][0]["valueString"] == text
    visit.press("sign")
    assert visit.path.endswith("/summary")
    assert "<svg onload" not in visit.page
    assert "<script>" not in visit.page.replace("&lt;script&gt;", "")
    assert "49" not in visit.text() or "{{7*7}}" not in text
    assert visit.browser.get(f"/l/{visit.launch_id}/form/1/download").mimetype == "application/fhir+json"


def test_AP35_sensitive_details_are_asked_about_before_they_are_typed(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire({"linkId": "t", "type": "text", "text": "Details"}))]
    assert "Ask the patient first before you type sensitive details" in visit.open()


def test_AP36_a_large_value_set_is_searched_and_the_hit_is_taken(visit: FormVisit, payer: ForeignPayer) -> None:
    item = {
        "linkId": "q",
        "type": "choice",
        "text": "Which?",
        "answerValueSet": "https://payer.example.net/ValueSet/large|2",
    }
    payer.packages, payer.codes = [package(questionnaire(item))], [("z9", "Zeta"), ("e7", "Eta"), ("k1", "Kappa")]
    visit.open()
    form = visit.path
    visit.post(f"{form}/search", {"at": "q", "q:q": "eta"})
    assert "Zeta" in visit.page
    assert "Kappa" not in visit.page
    assert payer.expansions[-1] == {
        "url": "https://payer.example.net/ValueSet/large", "valueSetVersion": "2", "filter": "eta", "count": "20",
    }  # fmt: skip
    chosen = visit.page.split('name="a:q" value="')[1].split('"')[0].replace("&#34;", '"')
    visit.get(form)
    visit.press("save", {"a:q": chosen})
    assert answers_of(visit.saved)["q"][0]["valueCoding"] == {"system": CODES, "code": "z9", "display": "Zeta"}


def test_AP36_a_hit_joins_the_answers_that_are_there(visit: FormVisit, payer: ForeignPayer) -> None:
    """Without a script the hits are a page of their own."""
    item = {"linkId": "q", "type": "open-choice", "text": "Which?", "repeats": True, "answerValueSet": "urn:large"}
    payer.packages, payer.codes = [package(questionnaire(item))], [("z9", "Zeta"), ("e7", "Eta")]
    visit.open()
    form = visit.path
    visit.press("save", {"w:q": ["mine, with comma", "another"]})
    for letters in ("zet", "eta"):
        visit.post(f"{form}/search", {"at": "q", "q:q": letters})
        page = visit.page.split("<main")[1]
        fields = re.findall(r'name="([aw]:q)" value="([^"]*)"', page)
        kept = [(name, html.unescape(value)) for name, value in fields]
        visit.get(form)
        names = {name: [value for each, value in kept if each == name] for name in ("a:q", "w:q")}
        visit.press("save", names)
    texts = [each.get("valueString") or each["valueCoding"]["code"] for each in answers_of(visit.saved)["q"]]
    assert texts == ["mine, with comma", "another", "z9", "e7"]


def test_AP36_hits_of_all_levels_are_offered_and_headings_are_none(visit: FormVisit, payer: ForeignPayer) -> None:
    leaf = {"system": CODES, "code": "z9", "display": "Zeta"}
    payer.packages = [package(questionnaire({"linkId": "q", "type": "choice", "text": "Q", "answerValueSet": "urn:l"}))]
    payer.contains = [{"display": "Heading", "abstract": True, "contains": [leaf]}]
    visit.open()
    visit.post(f"{visit.path}/search", {"at": "q", "q:q": "zeta"})
    assert visit.page.count('type="radio"') == 1
    assert "Zeta" in visit.page


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("open-choice", 503, "in your own words"),
        ("choice", 503, "Try again in a moment"),
        ("choice", 404, "The payer does not have this list."),
    ],
)
def test_AP36_offline_only_an_open_choice_takes_free_text(
    visit: FormVisit, payer: ForeignPayer, kind: str, status: int, words: str
) -> None:
    item = {"linkId": "q", "type": kind, "text": "Which?", "answerValueSet": "https://payer.example.net/ValueSet/large"}
    payer.packages = [package(questionnaire(item))]
    page = visit.open()
    assert ('name="w:q"' in page) is (kind == "open-choice")
    payer.fault = status
    assert words in visit.post(f"{visit.path}/search", {"at": "q", "q:q": "eta"}, **{"X-Fragment": "1"})


def test_AP11_a_reference_to_a_patient_is_this_patient_alone(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    ehr.answers["GET /fhir/Patient"] = ehr_outcome(400, "Patient has no search parameter patient")
    kind = {"url": f"{CORE}/questionnaire-referenceResource", "valueCode": "Patient"}
    payer.packages = [package(questionnaire({"linkId": "q", "type": "reference", "text": "Who", "extension": [kind]}))]
    visit.open()
    visit.post(f"{visit.path}/search", {"at": "q", "q:q": "canary"})
    assert "Patient/pat-1" in visit.page


def test_AP37_the_end_of_the_clinical_part_offers_to_hand_over(visit: FormVisit, payer: ForeignPayer) -> None:
    end = {"linkId": "end", "type": "display", "text": "The clinical part of this form is finished."}
    payer.packages = [package(questionnaire(WHY, end, {**WHY, "linkId": "later", "text": "Invoice number?"}))]
    page = visit.open()
    at_the_end = page.split("The clinical part of this form is finished.")[1].split("</div>")[0]
    assert 'value="hand-over"' in at_the_end
    assert page.index("Why?") < page.index("The clinical part") < page.index("Invoice number?")  # its own order


@pytest.mark.parametrize(("mode", "editable"), [("sequential", False), ("prior-edit", True), ("random", True)])
def test_AP37_a_form_in_sequence_shows_one_question_after_the_other(
    visit: FormVisit, payer: ForeignPayer, mode: str, editable: bool
) -> None:
    entry = {"url": f"{SDC}/sdc-questionnaire-entryMode", "valueCode": mode}
    payer.packages = [package(questionnaire(WHY, {**WHY, "linkId": "then", "text": "And then?"}, extension=[entry]))]
    page = visit.open()
    assert ("And then?" in page) is (mode == "random")
    page = visit.press("check", {"a:why": "because"})
    assert "And then?" in page
    assert ('name="p:why"' in page) is editable


def test_AP24_a_form_whose_flow_cannot_be_judged_is_filled_but_not_signed_and_the_payer_is_told(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    cql = {"url": f"{SDC}/sdc-questionnaire-enableWhenExpression",
           "valueExpression": {"language": "text/cql", "expression": "IsEligible"}}  # fmt: skip
    payer.packages = [package(questionnaire(WHY, {**WHY, "linkId": "x", "extension": [cql]}))]
    page = visit.open()
    assert "This form cannot be completed here" in page
    visit.press("save", {"a:why": "kept all the same"})
    assert answers_of(visit.saved)["why"]
    visit.press("sign")
    assert visit.status == 422
    assert visit.saved["status"] == "in-progress"
    assert len(payer.errors) == 1


def test_AP25_what_could_not_be_filled_in_is_listed_and_told_without_patient_data(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    broken = {"url": f"{SDC}/sdc-questionnaire-initialExpression",
              "valueExpression": {"language": "text/fhirpath", "expression": "%patient.name.nonsense("}}  # fmt: skip
    payer.packages = [package(questionnaire({**WHY, "extension": [broken]}))]
    page = visit.open()
    assert "could not be filled in from the chart" in page
    (report,) = payer.errors
    canonical, told = report["parameter"]
    assert canonical == {
        "name": "questionnaire",
        "valueCanonical": "https://payer.example.net/Questionnaire/foreign-form|3",
    }
    assert told["resource"]["resourceType"] == "OperationOutcome"
    assert told["resource"]["issue"][0]["expression"] == ["why"]
    for secret in ("Canaryname", "pat-1", "MRN-CANARY-77", "1961-07-03"):
        assert secret not in json.dumps(report)
    visit.get(visit.path)
    assert len(payer.errors) == 1  # once


def test_AP25_a_form_that_cannot_be_shown_faithfully_is_refused_and_told(visit: FormVisit, payer: ForeignPayer) -> None:
    strange = {"url": "https://payer.example.net/changes-everything", "valueBoolean": True}
    payer.packages = [package(questionnaire({**WHY, "modifierExtension": [strange]}))]
    page = visit.open()
    assert "This form cannot be answered here" in page
    assert len(payer.errors) == 1
