"""One item of a questionnaire, read into its shape (AP-11)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from smart_app.sdc.expression_reader import constraints, expression, expressions, labelled
from smart_app.sdc.marks import Marks
from smart_app.sdc.option_reader import initial_fragments, read_choices, read_units
from smart_app.sdc.shapes import Bounds, EnableWhen, Expression, Fragment, Item, ItemType, Link, Sources, Use
from smart_app.sdc.value_sets import ValueSets
from smart_app.sdc.xhtml import sanitised

_HELP = frozenset({"help", "flyover"})
_UNIT = frozenset({"unit", "trailing"})
_DISABLED_DISPLAY = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Questionnaire.item.disabledDisplay"
_TYPES = frozenset(one.value for one in ItemType)
_LAYOUT = frozenset({"inline", "prompt", "lower", "upper"})


def read_item(raw: Mapping[str, Any], sets: ValueSets, children: tuple[Item, ...]) -> Item:
    """``children`` are already read. Help, unit and prompt items among them become parts of this item.

    The caller has checked that ``linkId`` is a text and ``type`` one of R4's.
    """
    marks, link_id = Marks(raw), raw["linkId"]
    kind = ItemType(raw["type"])
    helps = [child for child in children if child.type is ItemType.DISPLAY and child.control in _HELP]
    units = [child for child in children if child.type is ItemType.DISPLAY and child.control in _UNIT]
    left = tuple(child for child in children if child not in helps and child not in units)
    enable = expressions(marks, Use.ENABLE, link_id)
    occurs = _occurs(raw, marks)
    return Item(
        link_id=link_id,
        type=kind,
        text=_text(raw, "text"),
        html=_html(raw, "text"),
        short_text=marks.text("questionnaire-shortText"),
        prefix=_text(raw, "prefix"),
        required=raw.get("required") is True or (marks.whole("questionnaire-minOccurs") or 0) > 0,
        repeats=raw.get("repeats") is True,
        read_only=raw.get("readOnly") is True,
        hidden=marks.flag("questionnaire-hidden"),
        control=next(iter(marks.codes("questionnaire-itemControl")), ""),
        category=next(iter(marks.codes("questionnaire-displayCategory")), ""),
        orientation=marks.text("questionnaire-choiceOrientation"),
        help_text="\n".join(child.text for child in helps if child.text),
        help_html="".join(child.html for child in helps),
        unit_text=" ".join(child.text for child in units),
        links=_links(marks),
        codes=tuple(one for one in raw.get("code") or () if isinstance(one, Mapping)),
        choices=read_choices(raw, marks, sets, link_id),
        units=read_units(marks, sets),
        bounds=read_bounds(raw, marks, link_id),
        sources=_sources(raw, marks, link_id),
        min_occurs=occurs[0],
        max_occurs=occurs[1],
        enable_when=_enable_when(raw),
        enable_any=raw.get("enableBehavior") == "any",
        enable_expression=enable[0] if enable else None,
        disabled_display=marks.text(_DISABLED_DISPLAY) or "hidden",
        variables=expressions(marks, Use.VARIABLE, link_id),
        constraints=constraints(marks, link_id),
        signature_required=bool(marks.codes("questionnaire-signatureRequired")),
        terminology_servers=marks.texts("preferredTerminologyServer", "questionnaire-preferredTerminologyServer"),
        items=left,
        raw=raw,
    )


def is_type(value: Any) -> bool:
    """Whether R4 has this item type."""
    return isinstance(value, str) and value in _TYPES


def _occurs(raw: Mapping[str, Any], marks: Marks) -> tuple[int | None, int | None]:
    if raw.get("repeats") is not True:
        return None, None
    most = marks.whole("questionnaire-maxOccurs")
    return marks.whole("questionnaire-minOccurs"), most or None  # 0, as in SDC's own example, can only mean no limit


def _text(raw: Mapping[str, Any], member: str) -> str:
    value = raw.get(member)
    return value if isinstance(value, str) else ""


def _html(raw: Mapping[str, Any], member: str) -> str:
    return sanitised(Marks(raw.get(f"_{member}")).value("rendering-xhtml"))


def _links(marks: Marks) -> tuple[Link, ...]:
    """Help pages: a bare address in 2.0.1's extension, an address with a label in 2.2's."""
    plain = [Link(url, url) for url in marks.texts("questionnaire-supportLink", "questionnaire-supportHyperlink")]
    labelled_links = [
        Link(url, inner.text("label", "title", "text") or url)
        for inner in marks.parts("questionnaire-supportHyperlink")
        if (url := inner.text("link", "url"))
    ]
    return tuple(one for one in (*plain, *labelled_links) if one.url.lower().startswith(("https://", "http://")))


def _enable_when(raw: Mapping[str, Any]) -> tuple[EnableWhen, ...]:
    found = []
    for one in raw.get("enableWhen") or ():
        if isinstance(one, Mapping) and isinstance(one.get("question"), str):
            answer = {
                f"value{name.removeprefix('answer')}": value for name, value in one.items() if name.startswith("answer")
            }
            found.append(EnableWhen(one["question"], str(one.get("operator", "")), answer))
    return tuple(found)


def _sources(raw: Mapping[str, Any], marks: Marks, where: str) -> Sources:
    initial = expressions(marks, Use.INITIAL, where)
    calculated = expressions(marks, Use.CALCULATED, where)
    population = expressions(marks, Use.POPULATION, where)
    period = marks.value("questionnaire-observationLinkPeriod")
    return Sources(
        initial=initial_fragments(raw),
        initial_expression=initial[0] if initial else None,
        calculated=calculated[0] if calculated else None,
        candidates=expressions(marks, Use.CANDIDATE, where),
        contexts=labelled(marks, Use.CONTEXT, where),
        population=population[0] if population else None,
        observation_period=period if isinstance(period, Mapping) else None,
    )


def read_bounds(raw: Mapping[str, Any], marks: Marks, where: str) -> Bounds:
    """Limits on one answer."""
    length, size = raw.get("maxLength"), marks.number("maxSize")
    return Bounds(
        low=_bound(marks, "minValue", "questionnaire-minQuantity"),
        high=_bound(marks, "maxValue", "questionnaire-maxQuantity"),
        low_expression=_bound_expression(marks, where, "minValue", "questionnaire-minQuantity"),
        high_expression=_bound_expression(marks, where, "maxValue", "questionnaire-maxQuantity"),
        places=marks.whole("maxDecimalPlaces"),
        min_length=marks.whole("minLength"),
        max_length=length if type(length) is int and length > 0 else None,
        regex=marks.text("regex"),
        entry_format=marks.text("entryFormat"),
        mime_types=marks.texts("mimeType"),
        max_bytes=int(size * _MEGA) if size is not None and size < _BYTES_FROM else int(size) if size else None,
    )


# `maxSize` counts octets in its present definition and megabytes in older forms; nobody means a file of 10 kB at most.
_MEGA = Decimal(1_000_000)
_BYTES_FROM = Decimal(10_000)


def _bound(marks: Marks, *names: str) -> Fragment | None:
    found = marks.fragment(*names)
    return found if found and not isinstance(found.get("valueExpression"), Mapping) else None


def _bound_expression(marks: Marks, where: str, *names: str) -> Expression | None:
    """A limit that is worked out: on the value itself or beside it."""
    for one in marks.all(*names):
        for member, value in one.items():
            if member == "valueExpression":
                return expression(value, Use.BOUND, where)
            holder = value if isinstance(value, Mapping) else one.get(f"_{member}")
            inner = Marks(holder).value("cqf-calculatedValue", "cqf-expression") if member.startswith("value") else None
            found = expression(inner, Use.BOUND, where)
            if found is not None:
                return found
        beside = [value for member, value in one.items() if member.startswith("_value")]
        for holder in beside:
            found = expression(Marks(holder).value("cqf-calculatedValue", "cqf-expression"), Use.BOUND, where)
            if found is not None:
                return found
    return None
