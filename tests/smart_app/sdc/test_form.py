"""Questionnaires of anybody, read or refused (AP-11, AP-12, reliability rows 110 and 111)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from smart_app.sdc.form import MAX_ITEMS, MAX_NESTING, read_form
from smart_app.sdc.option_reader import LONGEST_LIST
from smart_app.sdc.populate import start
from smart_app.sdc.shapes import Item, UnusableQuestionnaire
from smart_app.sdc.view import view
from smart_app.sdc.xhtml import sanitised
from tests.support.sdc_forms import SDC, context, core, fhirpath, form, item, questionnaire, rule, variable


def read(raw: dict[str, Any], **members: Any) -> Item:
    return form(raw, **members).by_link[raw["linkId"]]


# One row for each must-support element: what is written, where it is read, and the value that must be there.
ELEMENTS = [
    ("prefix", item("a", prefix="1a"), lambda one: one.prefix, "1a"),
    ("required", item("a", required=True), lambda one: one.required, True),
    ("repeats", item("a", repeats=True), lambda one: one.repeats, True),
    ("readOnly", item("a", readOnly=True), lambda one: one.read_only, True),
    ("maxLength", item("a", maxLength=12), lambda one: one.bounds.max_length, 12),
    ("initial", item("a", initial=[{"valueString": "x"}]), lambda one: one.sources.initial, ({"valueString": "x"},)),
    (
        "answerOption",
        item("a", "choice", answerOption=[{"valueCoding": {"system": "s", "code": "c", "display": "D"}}]),
        lambda one: (one.choices.options[0].key, one.choices.options[0].display),
        ("s|c", "D"),
    ),
    (
        "answerOption of integers",
        item("a", "choice", answerOption=[{"valueInteger": 3}]),
        lambda one: one.choices.options[0].key,
        "3",
    ),
    (
        "initialSelected",
        item("a", "choice", answerOption=[{"valueString": "x", "initialSelected": True}]),
        lambda one: one.choices.options[0].initially,
        True,
    ),
    (
        "optionExclusive",
        item(
            "a",
            "choice",
            answerOption=[
                {"valueString": "x", "extension": [core("questionnaire-optionExclusive", valueBoolean=True)]}
            ],
        ),
        lambda one: one.choices.options[0].exclusive,
        True,
    ),
    (
        "optionPrefix and ordinalValue",
        item(
            "a",
            "choice",
            answerOption=[
                {
                    "valueCoding": {"code": "c", "extension": [core("ordinalValue", valueDecimal=Decimal("2.5"))]},
                    "extension": [core("questionnaire-optionPrefix", valueString="A)")],
                }
            ],
        ),
        lambda one: (one.choices.options[0].prefix, one.choices.options[0].weight, one.choices.options[0].value),
        ("A)", Decimal("2.5"), {"valueCoding": {"code": "c"}}),
    ),
    (
        "rendering-xhtml on text",
        item("a", _text={"extension": [core("rendering-xhtml", valueString="<b>Bold</b><script>x()</script>")]}),
        lambda one: one.html,
        "<b>Bold</b>",
    ),
    (
        "rendering-xhtml on an option",
        item(
            "a",
            "choice",
            answerOption=[
                {
                    "valueString": "x",
                    "_valueString": {"extension": [core("rendering-xhtml", valueString="<i onclick='x()'>x</i>")]},
                }
            ],
        ),
        lambda one: one.choices.options[0].html,
        "<i>x</i>",
    ),
    (
        "itemControl",
        item(
            "a",
            "choice",
            ext=[core("questionnaire-itemControl", valueCodeableConcept={"coding": [{"code": "drop-down"}]})],
        ),
        lambda one: one.control,
        "drop-down",
    ),
    (
        "help item",
        item(
            "a",
            "string",
            item(
                "h",
                "display",
                ext=[core("questionnaire-itemControl", valueCodeableConcept={"coding": [{"code": "help"}]})],
            ),
        ),
        lambda one: (one.help_text, one.items),
        ("Question h", ()),
    ),
    (
        "supportLink (2.0.1)",
        item("a", ext=[core("questionnaire-supportLink", valueUri="https://payer.example/help")]),
        lambda one: one.links[0].url,
        "https://payer.example/help",
    ),
    (
        "supportHyperlink (2.2)",
        item(
            "a",
            ext=[
                core(
                    "questionnaire-supportHyperlink",
                    extension=[
                        {"url": "label", "valueString": "Help"},
                        {"url": "link", "valueUrl": "https://payer.example/help"},
                    ],
                )
            ],
        ),
        lambda one: (one.links[0].text, one.links[0].url),
        ("Help", "https://payer.example/help"),
    ),
    (
        "a link that is no web page is no link",
        item("a", ext=[core("questionnaire-supportLink", valueUri="javascript:alert(1)")]),
        lambda one: one.links,
        (),
    ),
    (
        "mimeType",
        item("a", "attachment", ext=[core("mimeType", valueCode="image/png")]),
        lambda one: one.bounds.mime_types,
        ("image/png",),
    ),
    (
        "maxSize in megabytes",
        item("a", "attachment", ext=[core("maxSize", valueDecimal=2)]),
        lambda one: one.bounds.max_bytes,
        2_000_000,
    ),
    (
        "maxSize in octets, as some write",
        item("a", "attachment", ext=[core("maxSize", valueDecimal=1048576)]),
        lambda one: one.bounds.max_bytes,
        1048576,
    ),
    (
        "unit",
        item("a", "quantity", ext=[core("questionnaire-unit", valueCoding={"code": "mg"})]),
        lambda one: one.units.unit,
        {"code": "mg"},
    ),
    (
        "unitOption",
        item("a", "quantity", ext=[core("questionnaire-unitOption", valueCoding={"code": "mg"})]),
        lambda one: (one.units.options, one.units.open),
        (({"code": "mg"},), False),
    ),
    (
        "unitValueSet",
        item("a", "quantity", ext=[core("questionnaire-unitValueSet", valueCanonical="#u")]),
        lambda one: one.units.options,
        ({"system": "u", "code": "mg"},),
    ),
    (
        "referenceResource",
        item("a", "reference", ext=[core("questionnaire-referenceResource", valueCode="Practitioner")]),
        lambda one: one.choices.reference_types,
        ("Practitioner",),
    ),
    (
        "referenceProfile",
        item("a", "reference", ext=[core("questionnaire-referenceProfile", valueCanonical="urn:p")]),
        lambda one: one.choices.reference_profiles,
        ("urn:p",),
    ),
    (
        "lookupQuestionnaire",
        item("a", "reference", ext=[{"url": f"{SDC}lookupQuestionnaire", "valueCanonical": "urn:q"}]),
        lambda one: one.choices.lookup_questionnaires,
        ("urn:q",),
    ),
    (
        "signatureRequired",
        item("a", ext=[core("questionnaire-signatureRequired", valueCodeableConcept={"coding": [{"code": "s"}]})]),
        lambda one: one.signature_required,
        True,
    ),
    (
        "preferredTerminologyServer",
        item("a", "choice", ext=[{"url": f"{SDC}preferredTerminologyServer", "valueUrl": "https://tx.example"}]),
        lambda one: one.terminology_servers,
        ("https://tx.example",),
    ),
    (
        "minValue",
        item("a", "decimal", ext=[core("minValue", valueDecimal=1)]),
        lambda one: one.bounds.low,
        {"valueDecimal": 1},
    ),
    (
        "maxQuantity",
        item("a", "quantity", ext=[{"url": f"{SDC}maxQuantity", "valueQuantity": {"value": 3, "code": "mg"}}]),
        lambda one: one.bounds.high,
        {"valueQuantity": {"value": 3, "code": "mg"}},
    ),
    (
        "a limit that is worked out",
        item(
            "a",
            "date",
            ext=[
                core(
                    "maxValue",
                    _valueDate={
                        "extension": [
                            core(
                                "cqf-calculatedValue",
                                valueExpression={"language": "text/fhirpath", "expression": "today()"},
                            )
                        ]
                    },
                )
            ],
        ),
        lambda one: one.bounds.high_expression.text,
        "today()",
    ),
    (
        "maxDecimalPlaces",
        item("a", "decimal", ext=[core("maxDecimalPlaces", valueInteger=2)]),
        lambda one: one.bounds.places,
        2,
    ),
    ("regex", item("a", ext=[core("regex", valueString="[0-9]+")]), lambda one: one.bounds.regex, "[0-9]+"),
    (
        "minOccurs and maxOccurs",
        item(
            "a",
            repeats=True,
            ext=[core("questionnaire-minOccurs", valueInteger=1), core("questionnaire-maxOccurs", valueInteger=3)],
        ),
        lambda one: (one.min_occurs, one.max_occurs, one.required),
        (1, 3, True),
    ),
    ("hidden", item("a", ext=[core("questionnaire-hidden", valueBoolean=True)]), lambda one: one.hidden, True),
    (
        "shortText",
        item("a", ext=[{"url": f"{SDC}shortText", "valueString": "Short"}]),
        lambda one: one.short_text,
        "Short",
    ),
    (
        "choiceOrientation",
        item("a", "choice", ext=[core("questionnaire-choiceOrientation", valueCode="horizontal")]),
        lambda one: one.orientation,
        "horizontal",
    ),
    (
        "targetConstraint",
        item("a", ext=[rule("k", "true", "Must be", "warning")]),
        lambda one: (one.constraints[0].severity, one.constraints[0].human),
        ("warning", "Must be"),
    ),
    (
        "initialExpression",
        item("a", ext=[fhirpath("initialExpression", "%x")]),
        lambda one: one.sources.initial_expression.text,
        "%x",
    ),
    (
        "observationLinkPeriod",
        item("a", "decimal", ext=[{"url": f"{SDC}observationLinkPeriod", "valueDuration": {"value": 1, "code": "a"}}]),
        lambda one: one.sources.observation_period,
        {"value": 1, "code": "a"},
    ),
]


@pytest.mark.parametrize(("raw", "where", "value"), [row[1:] for row in ELEMENTS], ids=[row[0] for row in ELEMENTS])
def test_AP11_every_element_is_read(raw: dict[str, Any], where: Any, value: Any) -> None:
    units = {
        "resourceType": "ValueSet",
        "id": "u",
        "compose": {"include": [{"system": "u", "concept": [{"code": "mg"}]}]},
    }
    assert where(read(raw, contained=[units])) == value


KINDS = [
    ("group", "group"),
    ("display", "display"),
    ("boolean", "radio"),
    ("decimal", "decimal"),
    ("integer", "integer"),
    ("date", "date"),
    ("dateTime", "datetime"),
    ("time", "time"),
    ("string", "text"),
    ("text", "textarea"),
    ("url", "url"),
    ("choice", "radio"),
    ("open-choice", "radio"),
    ("attachment", "file"),
    ("reference", "reference"),
    ("quantity", "quantity"),
]


@pytest.mark.parametrize(("kind", "control"), KINDS)
def test_AP11_every_item_type_is_shown(kind: str, control: str) -> None:
    one = form(item("a", kind))
    shown = view(one, start(one), context()).items
    assert [(each.key, each.control) for each in shown] == [("a", control)]


@pytest.mark.parametrize("kind", ["decimal", "integer"])
def test_AP11_a_number_says_what_it_is_counted_in(kind: str) -> None:
    mark = core("questionnaire-unit", valueCoding={"system": "http://unitsofmeasure.org", "code": "mg/d"})
    one = form(item("a", kind, ext=[mark]))
    assert view(one, start(one), context()).items[0].unit_text == "mg/d"


CONTROLS = [
    # what the questionnaire says, members, control
    ("few options", {"count": 3}, "radio"),
    ("many options", {"count": 9}, "select"),
    ("several answers", {"count": 3, "repeats": True}, "checkbox"),
    ("asked for as a list", {"count": 3, "code": "drop-down"}, "select"),
    ("asked for as radio buttons", {"count": 9, "code": "radio-button"}, "radio"),
    ("asked for as a search", {"count": 9, "code": "autocomplete"}, "autocomplete"),
]


@pytest.mark.parametrize(("members", "control"), [row[1:] for row in CONTROLS], ids=[row[0] for row in CONTROLS])
def test_AP11_controls_of_choices(members: dict[str, Any], control: str) -> None:
    raw = item("a", "choice", answerOption=[{"valueString": f"o{number}"} for number in range(members["count"])])
    raw["repeats"] = members.get("repeats", False)
    if "code" in members:
        raw["extension"] = [
            core("questionnaire-itemControl", valueCodeableConcept={"coding": [{"code": members["code"]}]})
        ]
    one = form(raw)
    assert view(one, start(one), context()).items[0].control == control


def test_AP11_value_sets_contained_in_the_package_or_expanded() -> None:
    contained = {
        "resourceType": "ValueSet",
        "id": "v",
        "compose": {"include": [{"system": "s", "concept": [{"code": "a"}]}]},
    }
    expanded = {
        "resourceType": "ValueSet",
        "url": "urn:vs",
        "version": "2",
        "expansion": {
            "contains": [{"system": "s", "abstract": True, "code": "top", "contains": [{"system": "s", "code": "b"}]}]
        },
    }
    outer = {"resourceType": "ValueSet", "url": "urn:outer", "compose": {"include": [{"valueSet": ["urn:vs|2"]}]}}
    raw = questionnaire(
        item("a", "choice", answerValueSet="#v"),
        item("b", "choice", answerValueSet="urn:vs|2"),
        item("c", "choice", answerValueSet="urn:outer"),
        item("d", "choice", answerValueSet="urn:elsewhere"),
        contained=[contained],
    )
    found = read_form(raw, [expanded, outer]).by_link
    assert [one.key for one in found["a"].choices.options] == ["s|a"]
    assert [one.key for one in found["b"].choices.options] == ["s|b"]
    assert [one.key for one in found["c"].choices.options] == ["s|b"]
    assert (found["d"].choices.options, found["d"].choices.value_set) == ((), "urn:elsewhere")
    assert "search" in found["d"].choices.note


@pytest.mark.parametrize("contained", [True, False])
def test_AP11_a_value_set_of_a_whole_code_system_that_came_along_is_listed(*, contained: bool) -> None:
    """As in SDC's own examples. What is no answer by itself is left out; of a part of a system nothing is concluded."""
    hidden = [{"code": "notSelectable", "valueBoolean": True}]
    concepts = [
        {"code": "top", "property": hidden, "concept": [{"code": "a", "display": "A"}, {"code": "b"}]},
        {"code": "old", "property": [{"code": "status", "valueCode": "retired"}]},
    ]
    system = {"resourceType": "CodeSystem", "id": "c", "url": "urn:c", "content": "complete", "concept": concepts}
    part = {**system, "id": "d", "url": "urn:d", "content": "fragment"}
    sets = [
        {
            "resourceType": "ValueSet",
            "id": f"v{n}",
            "url": f"urn:v{n}",
            "compose": {"include": [{"system": f"urn:{n}"}]},
        }
        for n in ("c", "d")
    ]
    items = [item("a", "choice", answerValueSet="urn:vc"), item("b", "choice", answerValueSet="urn:vd")]
    held = [system, part, *sets]
    found = read_form(questionnaire(*items, contained=held if contained else []), [] if contained else held).by_link
    assert [one.key for one in found["a"].choices.options] == ["urn:c|a", "urn:c|b"]
    assert (found["b"].choices.options, found["b"].choices.value_set) == ((), "urn:vd")


def test_bad_input_111_a_huge_value_set_is_searched_and_says_so() -> None:
    concepts = [{"code": f"c{number}"} for number in range(3_000)]
    huge = {
        "resourceType": "ValueSet",
        "url": "urn:huge",
        "compose": {"include": [{"system": "s", "concept": concepts}]},
    }
    one = read_form(questionnaire(item("a", "choice", answerValueSet="urn:huge")), [huge])
    shown = view(one, start(one), context()).items[0]
    assert shown.control == "autocomplete"
    assert len(shown.options) <= LONGEST_LIST
    assert "3000" in shown.option_note


def test_bad_input_111_value_sets_that_include_each_other_end() -> None:
    one = {"resourceType": "ValueSet", "url": "urn:1", "compose": {"include": [{"valueSet": ["urn:2"]}]}}
    two = {"resourceType": "ValueSet", "url": "urn:2", "compose": {"include": [{"valueSet": ["urn:1"]}]}}
    found = read_form(questionnaire(item("a", "choice", answerValueSet="urn:1")), [one, two])
    assert found.by_link["a"].choices.options == ()


def nested(levels: int) -> dict[str, Any]:
    made = item("x0")
    for level in range(1, levels):
        made = item(f"x{level}", "group", made)
    return made


def cyclic() -> dict[str, Any]:
    made = item("loop", "group")
    made["item"] = [made]
    return made


UNUSABLE = [
    ("no questionnaire", {"resourceType": "Patient"}, "did not send a questionnaire"),
    (
        "unknown modifier of the form",
        questionnaire(item("a"), modifierExtension=[{"url": "urn:odd", "valueBoolean": True}]),
        "urn:odd",
    ),
    ("unknown modifier of an item", questionnaire(item("a", modifierExtension=[{"url": "urn:odd"}])), "a"),
    (
        "unknown modifier of an option",
        questionnaire(
            item("a", "choice", answerOption=[{"valueString": "x", "modifierExtension": [{"url": "urn:odd"}]}])
        ),
        "answer",
    ),
    (
        "an extension that must not be ignored",
        questionnaire(
            item("a"),
            ext=[
                {
                    "url": "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-rendering-criticalExtension",
                    "valueCanonical": "urn:odd",
                }
            ],
        ),
        "urn:odd",
    ),
    (
        "only a part",
        questionnaire(item("a"), ext=[{"url": f"{SDC}assemble-expectation", "valueCode": "assemble-root"}]),
        "assemble",
    ),
    (
        "a place for another questionnaire",
        questionnaire(item("a", "display", ext=[{"url": f"{SDC}subQuestionnaire", "valueCanonical": "urn:sub|1"}])),
        "put its questions in",
    ),
    ("the same link id twice", questionnaire(item("a"), item("a")), "twice"),
    ("no link id", questionnaire({"type": "string"}), "linkId"),
    ("a type of another FHIR version", questionnaire(item("a", "coding")), "type"),
    ("items that are no items", {**questionnaire(), "item": ["x"]}, "list of items"),
    ("nested too deep", questionnaire(nested(MAX_NESTING + 1)), "deeper"),
    ("an item inside itself", questionnaire(cyclic()), "twice"),
    ("too many items", questionnaire(*(item(f"i{number}") for number in range(MAX_ITEMS + 1))), "more than"),
    ("two variables of one name", questionnaire(item("a", ext=[variable("x", "1"), variable("x", "2")])), "alike"),
    ("two root variables of one name", questionnaire(item("a"), ext=[variable("x", "1"), variable("x", "2")]), "alike"),
    ("a variable with a reserved name", questionnaire(item("a"), ext=[variable("resource", "1")]), "reserved"),
    ("a variable without name", questionnaire(item("a"), ext=[variable("", "1")]), "name"),
]


@pytest.mark.parametrize(("raw", "word"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_AP12_bad_input_111_what_cannot_be_shown_faithfully_is_refused_with_words(
    raw: dict[str, Any], word: str
) -> None:
    with pytest.raises(UnusableQuestionnaire) as caught:
        read_form(raw)
    assert word in " ".join(caught.value.reasons)


def test_SD03_names_of_variables_are_checked_before_anything_runs() -> None:
    with pytest.raises(UnusableQuestionnaire):
        form(item("a"), ext=[variable("context", "1")])


def test_AP12_unknown_extensions_never_hurt() -> None:
    one = form(
        item("a", ext=[{"url": "urn:new", "valueString": "x"}, {"url": "urn:newer", "extension": []}, {}]),
        ext=[{"url": "urn:z"}],
    )
    assert view(one, start(one), context()).ready


def test_AP24_cql_that_fills_in_is_left_to_the_person_and_cql_that_decides_blocks() -> None:
    filling = form(item("a", ext=[fhirpath("initialExpression", "Weight", language="text/cql")]))
    assert [(one.code, one.blocks) for one in filling.notices] == [("cql-population", False)]
    assert view(filling, start(filling), context()).ready
    for raw in (
        item("a", ext=[fhirpath("enableWhenExpression", "Needed", language="text/cql-identifier")]),
        item("a", ext=[rule("k", "Fine", "h", language="text/cql")]),
        item("a", "choice", ext=[fhirpath("answerExpression", "List", language="text/cql")]),
    ):
        deciding = form(raw)
        shown = view(deciding, start(deciding), context())
        assert [(one.code, one.blocks) for one in deciding.notices] == [("cql-flow", True)]
        assert not shown.ready
        assert any("CQL" in one.text for one in shown.problems)


def test_SD13_a_condition_on_a_question_that_is_not_there_blocks() -> None:
    one = form(item("a", enableWhen=[{"question": "gone", "operator": "exists", "answerBoolean": True}]))
    assert not view(one, start(one), context()).ready


XHTML = [
    ("<script>alert(1)</script>text", "text"),
    ("<p onclick='x()'>p</p>", "<p>p</p>"),
    ("<img src='https://spy.example/x.png' alt='a'>", '<img alt="a">'),
    ("<img src='data:image/png;base64,AAAA' alt='a'>", '<img src="data:image/png;base64,AAAA" alt="a">'),
    ("<img src='data:image/svg+xml;base64,AAAA'>", "<img>"),
    ("<svg onload=alert(1)></svg>", ""),
    ("<div style='position:fixed'>d</div>", "<div>d</div>"),
    ("<iframe src='//x'></iframe>", ""),
    ("<form action='/x'><input name=a></form>", ""),
]


@pytest.mark.parametrize(("raw", "clean"), XHTML, ids=range(len(XHTML)))
def test_bad_input_110_rich_text_of_strangers_cannot_act(raw: str, clean: str) -> None:
    assert sanitised(raw) == clean


def test_bad_input_110_links_lead_to_web_pages_in_their_own_window_only() -> None:
    assert "javascript" not in sanitised("<a href='javascript:x()'>l</a>")
    link = sanitised("<a href='https://payer.example/a' target='_top'>l</a>")
    for part in ('href="https://payer.example/a"', 'target="_blank"', "noopener"):
        assert part in link
    assert "_top" not in link


TEXTS = ["<svg onload=alert(1)>", "{{7*7}}", "=cmd()", "\u202eabc", "x" * 100_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_bad_input_110_plain_text_stays_text(text: str) -> None:
    one = form(item("a", text=text))
    shown = view(one, start(one), context()).items[0]
    assert (shown.text, shown.html) == (text, "")
