"""A draft that another app wrote, gone on with here: what nobody touched comes back as it was (AP-17, AP-21)."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.smart_app.forms.test_filling import FEW, MANY, control, option, unit
from tests.support.foreign_payer import ForeignPayer, package, questionnaire
from tests.support.form_visit import ORDER, FormVisit, answers_of
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import AppUnderTest

QR_CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
UNASKED = "https://cds.example.org/fhir/StructureDefinition/answer-unasked"
OPEN_LABEL = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-openLabel"
UCUM = "http://unitsofmeasure.org"


def draft(form: dict[str, Any], *items: dict[str, Any], **members: Any) -> dict[str, Any]:
    """In progress, about the order that the launch names."""
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "theirs",
        "meta": {"versionId": "1"},
        "status": "in-progress",
        "questionnaire": f"{form['url']}|3",
        "subject": {"reference": "Patient/pat-1"},
        "extension": [{"url": QR_CONTEXT, "valueReference": {"reference": ORDER}}],
        "item": list(items),
        **members,
    }


def resume(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, form: dict[str, Any], saved: dict[str, Any]) -> str:
    ehr.resources["QuestionnaireResponse/theirs"] = saved
    payer.packages = [package(form)]
    return visit.open()


def values(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: part for name, part in each.items() if name.startswith("value")} for each in answers]


def amount(value: float, code: str, name: str = "", **more: Any) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": name or code, "system": UCUM, "code": code, **more}}


MG_OR_UG = [unit("mg"), unit("ug")]
GONE = option("gone", "An answer of before")

# What a field cannot show, or a list does not offer any more.
KEPT: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("unit-not-offered", {"type": "quantity", "extension": MG_OR_UG}, [amount(5, "mL", "millilitre")]),
    ("comparator", {"type": "quantity", "extension": MG_OR_UG}, [amount(5, "mg", comparator="<")]),
    (
        "unit-of-each",
        {"type": "quantity", "repeats": True, "extension": MG_OR_UG},
        [amount(5, "mg"), amount(3, "ug")],
    ),
    ("one-unit-only", {"type": "quantity", "extension": [unit("mg")]}, [amount(5, "ug")]),
    ("seconds-and-zone", {"type": "dateTime"}, [{"valueDateTime": "2026-03-04T10:20:30+05:45"}]),
    ("fraction", {"type": "dateTime"}, [{"valueDateTime": "2026-03-04T10:20:30.123Z"}]),
    ("odd-offset", {"type": "dateTime"}, [{"valueDateTime": "2026-03-04T10:20:00+01:17"}]),
    ("month", {"type": "dateTime"}, [{"valueDateTime": "2026-03"}]),
    ("by-identifier", {"type": "reference"}, [{"valueReference": {"identifier": {"value": "7"}, "display": "Dr S."}}]),
    ("not-in-list", {"type": "choice", "answerOption": MANY}, [GONE]),
    ("not-in-radios", {"type": "choice", "answerOption": FEW}, [GONE]),
    ("text-not-in-list", {"type": "choice", "answerOption": [{"valueString": "x"}]}, [{"valueString": "y"}]),
    (
        "several-written-in",
        {"type": "open-choice", "repeats": True, "answerOption": FEW},
        [{"valueString": "one, with comma"}, {"valueString": "two"}, FEW[0]],
    ),
    (
        "written-beside-a-list",
        {"type": "open-choice", "answerOption": MANY, "extension": [control("drop-down")]},
        [{"valueString": "mine"}],
    ),
    ("long", {"type": "text"}, [{"valueString": "long " * 8_000 + "end"}]),
    ("spaces", {"type": "text"}, [{"valueString": " two\nlines  \n"}]),
    (
        "file-elsewhere",
        {"type": "attachment"},
        [{"valueAttachment": {"url": "https://x.example/1", "title": "Letter"}}],
    ),
    (
        "same-name",
        {
            "type": "choice",
            "answerOption": [
                {"valueReference": {"reference": f"Practitioner/{n}", "display": "Dr Same"}} for n in (1, 2)
            ],
        },
        [{"valueReference": {"reference": "Practitioner/2", "display": "Dr Same"}}],
    ),
]


@pytest.mark.parametrize(("item", "answers"), [each[1:] for each in KEPT], ids=[each[0] for each in KEPT])
def test_AP17_what_nobody_touched_is_saved_as_it_came(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, item: dict[str, Any], answers: list[dict[str, Any]]
) -> None:
    form = questionnaire(
        {"linkId": "q", "text": "Theirs", **item}, {"linkId": "other", "type": "string", "text": "Other"}
    )
    resume(visit, payer, ehr, form, draft(form, {"linkId": "q", "answer": answers}))
    visit.press("save", {"a:other": "mine"})
    saved = answers_of(ehr.resources["QuestionnaireResponse/theirs"])
    assert values(saved["q"]) == answers
    assert values(saved["other"]) == [{"valueString": "mine"}]


def test_AP17_a_new_number_keeps_the_unit_that_stands_beside_it(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    form = questionnaire({"linkId": "q", "type": "quantity", "text": "Dose", "repeats": True, "extension": MG_OR_UG})
    given = [amount(5, "mL", "millilitre"), amount(3, "ug")]
    resume(visit, payer, ehr, form, draft(form, {"linkId": "q", "answer": given}))
    visit.press("save", {"a:q": ["6", "4", "1"], "u:q": ["mL", "ug", "mg"]})
    saved = values(answers_of(ehr.resources["QuestionnaireResponse/theirs"])["q"])
    assert saved == [amount(6, "mL", "millilitre"), amount(4, "ug"), amount(1, "mg")]
    assert "Use one of these units: mg, ug." in visit.page


def test_AP11_a_written_answer_is_called_what_the_payer_calls_it(visit: FormVisit, payer: ForeignPayer) -> None:
    label = {"url": OPEN_LABEL, "valueString": "Another pump, namely"}
    form = questionnaire({"linkId": "q", "type": "open-choice", "text": "Q", "answerOption": FEW, "extension": [label]})
    payer.packages = [package(form)]
    assert "Another pump, namely" in visit.open()


OLD = {"linkId": "old", "text": "Asked before", "answer": [{"valueInteger": 4}]}
FORM_ITEMS: list[dict[str, Any]] = [
    {"linkId": "g", "type": "group", "text": "Group", "item": [{"linkId": "a", "type": "string", "text": "A"}]},
    {
        "linkId": "r",
        "type": "group",
        "text": "Rows",
        "repeats": True,
        "item": [{"linkId": "b", "type": "string", "text": "B"}],
    },
    {"linkId": "q", "type": "boolean", "text": "Q"},
    {"linkId": "now-group", "type": "group", "text": "N", "item": [{"linkId": "c", "type": "string", "text": "C"}]},
    {"linkId": "m", "type": "string", "text": "M", "repeats": True},
]


def named(link_id: str) -> dict[str, Any]:
    return {**OLD, "linkId": link_id}


def test_AP17_answers_to_questions_of_another_version_are_shown_and_not_lost(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    """In the draft they stay where they stood; in the signed form they are beside the answers."""
    form = questionnaire(*FORM_ITEMS)
    group_of_old = {"linkId": "old-group", "text": "Old group", "item": [named("old-in-group")]}
    items = [
        {"linkId": "g", "text": "Group", "item": [{"linkId": "a", "answer": [{"valueString": "x"}]}, named("old-1")]},
        {"linkId": "r", "text": "Rows", "item": [{"linkId": "b", "answer": [{"valueString": "1"}]}]},
        {"linkId": "r", "text": "Rows", "item": [{"linkId": "b", "answer": [{"valueString": "2"}]}, named("old-2")]},
        {"linkId": "q", "text": "Q", "answer": [{"valueBoolean": True, "item": [named("old-3")]}]},
        {"linkId": "now-group", "answer": [{"valueString": "was a question"}]},
        {"linkId": "m", "answer": [{"valueString": "first"}]},
        {"linkId": "m", "answer": [{"valueString": "second"}]},
        named("old-4"),
        group_of_old,
    ]
    resume(visit, payer, ehr, form, draft(form, *items))
    assert "6 answers to questions that this version of the form does not ask" in visit.page
    assert "was a question" in visit.page
    assert "Asked before" in visit.page
    visit.press("save", {"a:g/a": "changed"})
    saved = ehr.resources["QuestionnaireResponse/theirs"]
    by_link = {each["linkId"]: each for each in saved["item"]}
    assert by_link["g"]["item"][1] == named("old-1")
    assert [each["item"][-1] for each in saved["item"] if each["linkId"] == "r"][1] == named("old-2")
    assert by_link["q"]["answer"][0]["item"] == [named("old-3")]
    assert by_link["now-group"]["answer"] == [{"valueString": "was a question"}]
    assert by_link["old-4"] == named("old-4")
    assert by_link["old-group"] == group_of_old
    assert [each["valueString"] for each in answers_of(saved)["m"]] == ["first", "second"]
    visit.press("sign")
    signed = ehr.resources["QuestionnaireResponse/theirs"]
    assert signed["status"] == "completed"
    assert set(answers_of(signed)) == {"a", "b", "q", "m"}
    beside = [each["extension"] for each in signed["extension"] if each["url"] == UNASKED]
    assert {part["valueString"] for each in beside for part in each if part["url"] == "linkId"} == {
        "old-1", "old-2", "old-3", "now-group", "old-4", "old-in-group",
    }  # fmt: skip
    assert beside[0][1:] == [{"url": "text", "valueString": "Asked before"}, {"url": "value", "valueInteger": 4}]


def test_AP17_what_belongs_to_the_draft_as_a_whole_stays_on_it(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    """Another app's identifier, links, labels and contained resources; the last go with the answer that names them."""
    form = questionnaire({"linkId": "q", "type": "reference", "text": "Who"})
    somebody = {"resourceType": "Practitioner", "id": "p", "name": [{"family": "Inside"}]}
    members = {
        "identifier": {"system": "urn:their", "value": "abc"},
        "basedOn": [{"reference": "ServiceRequest/9"}],
        "partOf": [{"reference": "Procedure/1"}],
        "source": {"reference": "Patient/pat-1"},
        "language": "de",
    }
    label = [{"system": "urn:labels", "code": "R"}]
    saved = draft(form, {"linkId": "q", "answer": [{"valueReference": {"reference": "#p", "display": "Inside"}}]})
    saved |= {**members, "contained": [somebody], "text": {"status": "generated", "div": "<div>old</div>"}}
    saved["meta"]["security"] = label
    saved["extension"].append({"url": "http://their.example/x", "valueString": "keep"})
    theirs_too = package(form)
    theirs_too["entry"].append(
        {"resource": {**draft(form), "extension": [{"url": "http://payer.example/y", "valueString": "payer's"}]}}
    )
    ehr.resources["QuestionnaireResponse/theirs"] = saved
    payer.packages = [theirs_too]
    visit.open()
    visit.press("save")
    after = ehr.resources["QuestionnaireResponse/theirs"]
    assert {name: after.get(name) for name in members} == members
    assert after["contained"] == [somebody]
    assert after["meta"]["security"] == label
    assert "text" not in after
    own = {each["url"]: each.get("valueString") for each in after["extension"]}
    assert own["http://their.example/x"] == "keep"
    assert own["http://payer.example/y"] == "payer's"
    visit.press("save", {"x:q": "1"})
    assert "contained" not in ehr.resources["QuestionnaireResponse/theirs"]


def test_AP11_a_time_is_taken_in_the_zone_that_was_chosen_and_never_guessed(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire({"linkId": "q", "type": "dateTime", "text": "When", "required": True}))]
    visit.open()
    assert visit.fields()["z:q"] == ""  # nothing chosen: a script puts the browser's in, a person chooses
    visit.press("save", {"a:q": "2026-07-02T14:30"})
    assert "q" not in answers_of(visit.saved)
    assert "Choose the time zone of this time." in visit.page
    assert visit.fields()["a:q"] == "2026-07-02T14:30"
    visit.press("save", {"z:q": "-04:00"})
    assert values(answers_of(visit.saved)["q"]) == [{"valueDateTime": "2026-07-02T14:30:00-04:00"}]
    assert (visit.fields()["a:q"], visit.fields()["z:q"]) == ("2026-07-02T14:30", "-04:00")
    visit.press("save", {"z:q": "+05:30"})
    assert values(answers_of(visit.saved)["q"]) == [{"valueDateTime": "2026-07-02T14:30:00+05:30"}]
    assert json.dumps(visit.saved).count("2026-07-02T14:30") == 1
    assert "2026-07-02, 14:30 (UTC+05:30)" in visit.press("sign")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("2026-01-02T09:00", "2026-01-02T09:00:00+01:00"), ("2026-07-02T09:00", "2026-07-02T09:00:00+02:00")],
)
def test_AP11_the_clinics_zone_counts_with_its_summer_time(
    app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer, typed: str, stored: str
) -> None:
    app.register(ehr, time_zone="Europe/Berlin")
    visit = FormVisit(app, ehr, payer)
    payer.packages = [package(questionnaire({"linkId": "q", "type": "dateTime", "text": "When"}))]
    visit.open()
    assert visit.fields()["z:q"] == "Europe/Berlin"
    visit.press("save", {"a:q": typed})
    assert values(answers_of(visit.saved)["q"]) == [{"valueDateTime": stored}]


EAST, WEST = "Pacific/Kiritimati", "Etc/GMT+12"  # never the same day


@pytest.mark.parametrize(
    ("clinic", "browser", "counts"),
    [
        (EAST, WEST, EAST),
        (WEST, EAST, WEST),
        ("", EAST, EAST),
        ("", WEST, WEST),
        ("", "Mars/Base", "UTC"),
        ("", "", "UTC"),
    ],
)
def test_AP18_the_day_of_the_signature_is_that_of_the_signer(
    app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer, clinic: str, browser: str, counts: str
) -> None:
    """The clinic's zone, else the browser's; without a script it is the day of UTC."""
    app.register(ehr, time_zone=clinic)
    visit = FormVisit(app, ehr, payer)
    day = {"linkId": "attestation_date", "type": "date", "text": "Day", "required": True}
    payer.packages = [package(questionnaire(day))]

    def today() -> str:
        return app.clock.now().astimezone(ZoneInfo(counts)).date().isoformat()

    visit.open()
    possible = {today()}
    visit.press("sign", {"clock": browser})
    possible.add(today())  # midnight may pass
    (signed,) = answers_of(visit.saved)["attestation_date"]
    assert signed["valueDate"] in possible
