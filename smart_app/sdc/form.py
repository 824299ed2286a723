"""A questionnaire of anybody, read into a form or refused with reasons (AP-11, AP-12, reliability row 111)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from smart_app.sdc import expressions
from smart_app.sdc.expression_reader import constraints
from smart_app.sdc.expression_reader import expressions as read_expressions
from smart_app.sdc.item_reader import is_type, read_item
from smart_app.sdc.marks import Marks, short_name
from smart_app.sdc.shapes import FLOW, Expression, Form, Item, ItemType, Notice, UnusableQuestionnaire, Use
from smart_app.sdc.value_sets import ValueSets

MAX_NESTING = 24
"""Levels of items. Real forms have fewer than ten."""

MAX_ITEMS = 5_000

# Rendering that this app does do, when a questionnaire says that it must not be ignored.
_RENDERED = frozenset(
    {
        "questionnaire-entryMode",
        "questionnaire-answerOptionsToggleExpression",
        "questionnaire-optionExclusive",
        "questionnaire-itemControl",
        "questionnaire-hidden",
        "questionnaire-unitOption",
        "questionnaire-unitValueSet",
        "questionnaire-enableWhenExpression",
        "questionnaire-calculatedExpression",
        "questionnaire-answerExpression",
        "questionnaire-signatureRequired",
        "questionnaire-choiceOrientation",
        "questionnaire-supportLink",
        "questionnaire-supportHyperlink",
        "questionnaire-displayCategory",
        "questionnaire-usageMode",
        "questionnaire-unit",
        "rendering-xhtml",
        "rendering-criticalExtension",
        "targetConstraint",
        "variable",
        "regex",
        "minValue",
        "maxValue",
        "maxDecimalPlaces",
        "mimeType",
        "maxSize",
    }
)
_ASSEMBLED_ELSEWHERE = frozenset({"assemble-root", "assemble-root-or-child", "assemble-child"})


def read_form(questionnaire: Any, value_sets: Iterable[Any] = ()) -> Form:
    """The form. ``value_sets`` are those of the package. Raises UnusableQuestionnaire with every reason found."""
    if not isinstance(questionnaire, Mapping) or questionnaire.get("resourceType") != "Questionnaire":
        raise UnusableQuestionnaire(("The payer did not send a questionnaire.",))
    reasons = list(dict.fromkeys(_reasons(questionnaire)))
    if reasons:
        raise UnusableQuestionnaire(tuple(reasons))
    sets = ValueSets(value_sets, questionnaire.get("contained"))
    items = _items(questionnaire.get("item"), sets)
    return _form(questionnaire, sets, items)


def _form(raw: Mapping[str, Any], sets: ValueSets, items: tuple[Item, ...]) -> Form:
    marks = Marks(raw)
    url, version = _text(raw, "url"), _text(raw, "version")
    by_link, parents = dict(_by_link(items)), dict(_parents(items, ""))
    variables = read_expressions(marks, Use.VARIABLE, "")
    rules = constraints(marks, "")
    adaptive = marks.value("questionnaire-questionnaireAdaptive")
    every = (*variables, *(rule.expression for rule in rules), *_all_expressions(items))
    return Form(
        url=url,
        version=version,
        canonical=f"{url}|{version}" if version else url,
        title=_text(raw, "title") or _text(raw, "name") or "Questionnaire",
        description=_text(raw, "description"),
        status=_text(raw, "status"),
        items=items,
        by_link=by_link,
        parents=parents,
        variables=variables,
        launch_names=tuple(
            code for inner in marks.parts("questionnaire-launchContext") for code in inner.codes("name")
        ),
        constraints=rules,
        libraries=marks.texts("cqf-library"),
        adaptive=bool(adaptive),
        adaptive_url=adaptive if isinstance(adaptive, str) else "",
        entry_mode=marks.text("questionnaire-entryMode"),
        signature_required=bool(marks.codes("questionnaire-signatureRequired")),
        subject_types=tuple(one for one in raw.get("subjectType") or () if isinstance(one, str)),
        effective=raw["effectivePeriod"] if isinstance(raw.get("effectivePeriod"), Mapping) else {},
        terminology_servers=marks.texts("preferredTerminologyServer", "questionnaire-preferredTerminologyServer"),
        value_sets=sets.members(),
        hidden=frozenset(_hidden(items, above=False)),
        notices=tuple(dict.fromkeys((*_of_expressions(every), *_of_conditions(items, by_link), *_of_names(items)))),
        raw=raw,
    )


def _text(raw: Mapping[str, Any], member: str) -> str:
    value = raw.get(member)
    return value if isinstance(value, str) else ""


def _items(raw: Any, sets: ValueSets) -> tuple[Item, ...]:
    return tuple(read_item(one, sets, _items(one.get("item"), sets)) for one in raw or ())


def _by_link(items: tuple[Item, ...]) -> Iterator[tuple[str, Item]]:
    for item in items:
        yield item.link_id, item
        yield from _by_link(item.items)


def _hidden(items: tuple[Item, ...], *, above: bool) -> Iterator[str]:
    for item in items:
        if above or item.hidden:
            yield item.link_id
        yield from _hidden(item.items, above=above or item.hidden)


def _parents(items: tuple[Item, ...], above: str) -> Iterator[tuple[str, str]]:
    for item in items:
        yield item.link_id, above
        yield from _parents(item.items, item.link_id)


# ------------------------------------------------------------------ reasons to refuse


def _reasons(questionnaire: Mapping[str, Any]) -> Iterator[str]:
    marks = Marks(questionnaire)
    for name in (*Marks(questionnaire, "modifierExtension").names(), *_critical(marks)):
        if name not in _RENDERED:
            yield f"The questionnaire says that it must not be used by an app that does not know {name}."
    if set(marks.codes("questionnaire-assemble-expectation")) & _ASSEMBLED_ELSEWHERE:
        yield "The questionnaire is only a part; the payer has to assemble it first."
    yield from _reasons_of_names(marks, "The questionnaire")
    yield from _reasons_of_items(questionnaire.get("item"))


def _critical(marks: Marks) -> Iterator[str]:
    for value in marks.values("rendering-criticalExtension"):
        yield short_name(value)


def _reasons_of_items(top: Any) -> Iterator[str]:
    """Walks with a stack of its own: the depth of a stranger's tree is what it looks for."""
    seen: set[str] = set()
    stack: list[tuple[Any, int]] = [(top, 1)]
    count = 0
    while stack:
        raw, level = stack.pop()
        if raw is None:
            continue
        if level > MAX_NESTING:
            yield f"Items are nested deeper than {MAX_NESTING} levels."
            return
        if not isinstance(raw, list) or not all(isinstance(one, Mapping) for one in raw):
            yield "An item list is not a list of items."
            return
        count += len(raw)
        if count > MAX_ITEMS:
            yield f"The questionnaire has more than {MAX_ITEMS} items."
            return
        for one in raw:
            yield from _reasons_of_item(one, seen)
            stack.append((one.get("item"), level + 1))


def _reasons_of_item(raw: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    link_id = raw.get("linkId")
    if not isinstance(link_id, str) or not link_id:
        yield "An item has no linkId."
        return
    if link_id in seen:
        yield f"The linkId {link_id} is there twice."
    seen.add(link_id)
    if not is_type(raw.get("type")):
        yield f"Item {link_id} has a type that FHIR R4 does not have."
    if Marks(raw).text("questionnaire-subQuestionnaire"):
        yield f"Item {link_id} stands for another questionnaire; the payer has to put its questions in first."
    for name in Marks(raw, "modifierExtension").names():
        yield f"Item {link_id} must not be shown by an app that does not know {name}."
    if any(isinstance(one, Mapping) and one.get("modifierExtension") for one in raw.get("answerOption") or ()):
        yield f"An answer of item {link_id} must not be shown by an app that does not know its modifier."
    yield from _reasons_of_names(Marks(raw), f"Item {link_id}")


_RESERVED = frozenset({"context", "resource", "rootResource", "questionnaire", "qitem", "ucum", "sct", "loinc"})


def _reasons_of_names(marks: Marks, where: str) -> Iterator[str]:
    """Variables need names of their own (SD-03)."""
    names = [one.get("name") for one in marks.values("variable") if isinstance(one, Mapping)]
    if not all(isinstance(name, str) and name for name in names):
        yield f"{where} has a variable without a name."
    elif len(names) != len(set(names)):
        yield f"{where} names two variables alike."
    if _RESERVED & {str(name) for name in names}:
        yield f"{where} gives a variable a reserved name."


# ------------------------------------------------------------------ notices


def _all_expressions(items: tuple[Item, ...]) -> Iterator[Expression]:
    for item in items:
        sources, bounds = item.sources, item.bounds
        yield from item.variables
        yield from (*sources.candidates, *sources.contexts)
        single = (
            sources.initial_expression,
            sources.calculated,
            sources.population,
            item.enable_expression,
            item.choices.expression,
            bounds.low_expression,
            bounds.high_expression,
        )
        yield from (one for one in single if one is not None)
        yield from (rule.expression for rule in item.constraints)
        yield from (one.expression for one in item.choices.toggles)
        yield from _all_expressions(item.items)


def _of_expressions(every: Iterable[Expression]) -> Iterator[Notice]:
    for one in every:
        trouble = expressions.trouble(one)
        if trouble is None:
            continue
        blocks = one.use in FLOW
        if trouble.code == "cql":
            code, text = ("cql-flow", _CQL_FLOW) if blocks else ("cql-population", _CQL_POPULATION)
        else:
            code, text = "expression", f"The {one.use.value} cannot be evaluated: {trouble.text}"
        yield Notice(code, text, one.where, blocks)


_CQL_POPULATION = (
    "The payer's rule that would fill this in is written in CQL, which this app does not run. Please answer."
)
_CQL_FLOW = (
    "The payer's rule that decides here is written in CQL, which this app does not run. "
    "The form can be filled and saved, but not completed here."
)


def _of_conditions(items: tuple[Item, ...], by_link: Mapping[str, Item]) -> Iterator[Notice]:
    for item in by_link.values():
        for one in item.enable_when:
            if one.question not in by_link:
                text = f"Whether this is asked depends on {one.question}, which the form does not have."
                yield Notice("condition", text, item.link_id, blocks=True)
    del items


def _of_names(items: tuple[Item, ...]) -> Iterator[Notice]:
    for item in items:
        if item.sources.initial and item.sources.initial_expression:
            yield Notice(
                "initial", "Both a fixed and a worked-out first value are given; the fixed one counts.", item.link_id
            )
        if item.type in {ItemType.GROUP, ItemType.DISPLAY} and item.sources.initial_expression:
            yield Notice("initial", "A group or display text has a first value, which means nothing.", item.link_id)
        yield from _of_names(item.items)
