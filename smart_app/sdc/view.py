"""A form as it is shown now (AP-11, AP-19): one walk over what is enabled, with options, problems and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from smart_app.sdc import keys
from smart_app.sdc.comparison import equal
from smart_app.sdc.context import Context
from smart_app.sdc.entry import field_of
from smart_app.sdc.evaluation import Look, look
from smart_app.sdc.filling import Answer, Filling
from smart_app.sdc.offers import listed, offered
from smart_app.sdc.option_reader import LONGEST_LIST
from smart_app.sdc.places import Place, holders
from smart_app.sdc.shapes import Form, Fragment, Item, ItemType, Notice, Option
from smart_app.sdc.texts import entry, shown
from smart_app.sdc.validate import problems_at
from smart_app.sdc.view_shapes import AnswerView, FormView, ItemView, OptionView, Problem, UnitView

FEW = 7
"""Options that are shown all at once; more go into a list."""

_SIMPLE: Mapping[ItemType, str] = {
    ItemType.DISPLAY: "display",
    ItemType.BOOLEAN: "radio",
    ItemType.DECIMAL: "decimal",
    ItemType.INTEGER: "integer",
    ItemType.DATE: "date",
    ItemType.DATE_TIME: "datetime",
    ItemType.TIME: "time",
    ItemType.STRING: "text",
    ItemType.TEXT: "textarea",
    ItemType.URL: "url",
    ItemType.ATTACHMENT: "file",
    ItemType.REFERENCE: "reference",
    ItemType.QUANTITY: "quantity",
}
_YES_NO = (Option("true", {"valueBoolean": True}, "Yes"), Option("false", {"valueBoolean": False}, "No"))


def view(form: Form, filling: Filling, context: Context) -> FormView:
    """What to show."""
    at = look(form, filling, context)
    problems = problems_at(at)
    viewer = _Viewer(at, problems)
    items = viewer.items(form.items, "", 0)
    enabled = [place for place in at.places.values() if at.enabled(place.key)]
    asked = [place for place in enabled if place.item.is_question and place.item.link_id not in form.hidden]
    dropped = tuple(
        key for key, state in filling.states.items() if state.answers and key in at.places and not at.enabled(key)
    )
    return FormView(
        title=form.title,
        items=items,
        problems=problems,
        notices=(*form.notices, *_of_failures(at)),
        open_items=tuple(dict.fromkeys(one.key for one in problems if one.code == "required")),
        dropped=dropped,
        answered=sum(1 for place in asked if filling.state(place.key).answers),
        questions=len(asked),
        ready=not any(one.severity == "error" for one in problems),
    )


def _of_failures(at: Look) -> tuple[Notice, ...]:
    """What could not be worked out, once for each place; the form's own notices are not repeated."""
    known = {(notice.where, notice.code) for notice in at.form.notices}
    made = {}
    for failure in at.failures.values():
        code = "cql-population" if failure.code == "cql" else "expression"
        if (failure.where, code) not in known and (failure.where, "cql-flow") not in known:
            text = f"Something that would be filled in here could not be: {failure.text}."
            made[failure.where, failure.text] = Notice(code, text, failure.where)
    return tuple(made.values())


class _Viewer:
    def __init__(self, at: Look, problems: tuple[Problem, ...]) -> None:
        self._at = at
        self._problems: dict[str, list[Problem]] = {}
        for one in problems:
            self._problems.setdefault(one.key, []).append(one)
        self._notices: dict[str, list[Notice]] = {}
        for notice in at.form.notices:
            self._notices.setdefault(notice.where, []).append(notice)

    def items(self, items: tuple[Item, ...], above: str, level: int) -> tuple[ItemView, ...]:
        found = []
        for item in items:
            place = self._at.places[_key(above, item)]
            enabled = self._at.enabled(place.key)
            if not item.hidden and (enabled or item.disabled_display == "protected"):
                found.append(self._item(place, level, enabled=enabled))
        return tuple(found)

    def _item(self, place: Place, level: int, *, enabled: bool) -> ItemView:
        item, key = place.item, place.key
        made = ItemView(
            key=key,
            link_id=item.link_id,
            type=item.type,
            control=_control(item),
            text=item.text,
            html=item.html,
            short_text=item.short_text,
            prefix=item.prefix,
            required=item.required,
            repeats=item.repeats,
            read_only=item.read_only or not enabled,
            level=level,
            category=item.category,
            orientation=item.orientation,
            columns=item.control in {"gtable", "grid", "table", "htable"},
            unit_text=item.unit_text or _unit_of_number(item),
            help_text=item.help_text,
            help_html=item.help_html,
            links=item.links,
            signature_required=item.signature_required,
            problems=tuple(self._problems_of(place)),
            notices=tuple(self._notices.get(item.link_id, ())),
            enabled=enabled,
            raw=item.raw,
        )
        if item.is_row_group:
            return self._with_rows(made, place, level)
        if item.is_question:
            made = self._with_answers(made, place)
        holder = holders(key, item, self._at.filling)
        inner = [one for each in holder for one in self.items(item.items, each, level + 1)] if item.items else []
        return msgspec.structs.replace(made, items=tuple(inner))

    def _problems_of(self, place: Place) -> list[Problem]:
        """Its own, and those of its rows."""
        own = self._problems.get(place.key, [])
        if not place.item.is_row_group:
            return own
        rows = holders(place.key, place.item, self._at.filling)
        return [*own, *(one for row in rows for one in self._problems.get(row, ()))]

    def _with_rows(self, made: ItemView, place: Place, level: int) -> ItemView:
        rows = holders(place.key, place.item, self._at.filling)
        most, least = place.item.max_occurs, max(place.item.min_occurs or 0, 1)
        changeable = not place.item.read_only and made.enabled
        return msgspec.structs.replace(
            made,
            rows=tuple(self.items(place.item.items, row, level + 1) for row in rows),
            row_keys=rows,
            can_add=changeable and (most is None or len(rows) < most),
            can_remove=changeable and len(rows) > least,
        )

    def _with_answers(self, made: ItemView, place: Place) -> ItemView:
        item, state, bounds = place.item, self._at.filling.state(place.key), place.item.bounds
        options, search, note = self._options(place)
        return msgspec.structs.replace(
            made,
            answers=tuple(_answer_view(one, options) for one in state.answers),
            replaced=tuple(_answer_view(one, options) for one in state.before),
            options=tuple(_option_view(one, state.values) for one in options),
            option_note=note,
            write_in=item.type is ItemType.OPEN_CHOICE,
            open_label=item.choices.open_label,
            search=search,
            suggestions=self._suggestions(place),
            units=_units(item),
            unit_open=item.units.open,
            entry_format=bounds.entry_format,
            low=entry(bounds.low) if bounds.low else "",
            high=entry(bounds.high) if bounds.high else "",
            step=_step(item),
            max_length=bounds.max_length,
            accept=bounds.mime_types,
            max_bytes=bounds.max_bytes,
            reference_types=item.choices.reference_types,
        )

    def _options(self, place: Place) -> tuple[tuple[Option, ...], str, str]:
        """Options to list, the value set to search, and a remark about what is not listed."""
        item = place.item
        if item.type is ItemType.BOOLEAN:
            return _YES_NO, "", ""
        found = offered(self._at, place) or ()
        if len(found) <= LONGEST_LIST:
            return found, item.choices.value_set, item.choices.note
        values = self._at.filling.state(place.key).values
        chosen = tuple(one for one in found if any(equal(one.value, value) for value in values))
        return chosen, item.choices.value_set, item.choices.note or f"{len(found)} answers are possible."

    def _suggestions(self, place: Place) -> tuple[OptionView, ...]:
        """What a ``candidateExpression`` suggests; a person picks (SD-11)."""
        values = self._at.filling.state(place.key).values
        found = [one for each in place.item.sources.candidates for one in listed(self._at, place, each)]
        return tuple(msgspec.structs.replace(_option_view(one, values), suggested=True) for one in found[:LONGEST_LIST])


def _answer_view(answer: Answer, options: tuple[Option, ...]) -> AnswerView:
    field = field_of(answer.value)
    moment = "valueDateTime" in answer.value
    return AnswerView(
        answer.value,
        field.text,
        shown(answer.value),
        unit="" if moment else field.beside,
        zone=field.beside if moment else "",
        listed=any(equal(one.value, answer.value) is True for one in options),
        origin=answer.origin,
        author=answer.author,
        notes=answer.notes,
    )


def _key(above: str, item: Item) -> str:
    return keys.below(above, item.link_id)


def _control(item: Item) -> str:
    """What the form field is: as the questionnaire asks where that is possible, else by the number of options."""
    if item.type is ItemType.GROUP:
        return "row-group" if item.repeats else "group"
    choosing = item.type in {ItemType.CHOICE, ItemType.OPEN_CHOICE} or bool(item.choices.options)
    if not choosing and item.choices.expression is None:
        return "textarea" if item.type is ItemType.STRING and item.control == "text-area" else _SIMPLE[item.type]
    if item.choices.value_set or item.control in {"autocomplete", "lookup"}:
        return "autocomplete"
    if item.repeats or item.control == "radio-button":
        return "checkbox" if item.repeats else "radio"
    long = len(item.choices.options) > FEW or item.choices.expression is not None
    return "select" if long or item.control in {"drop-down", "combo-box"} else "radio"


def _option_view(option: Option, values: tuple[Fragment, ...]) -> OptionView:
    selected = any(equal(option.value, value) is True for value in values)
    return OptionView(option.key, option.display, option.html, option.prefix, selected, option.exclusive)


def _unit_of_number(item: Item) -> str:
    """What a number without a unit of its own is counted in, where the form says so (``questionnaire-unit``)."""
    unit = item.units.unit if item.type in {ItemType.DECIMAL, ItemType.INTEGER} else None
    return str(unit.get("display") or unit.get("code") or "") if unit else ""


def _units(item: Item) -> tuple[UnitView, ...]:
    known: list[Fragment] = [one for one in (item.units.unit, *item.units.options) if one]
    return tuple(UnitView(str(one.get("code", "")), str(one.get("display") or one.get("code", ""))) for one in known)


def _step(item: Item) -> str:
    """The step of a number field: what the allowed digits after the point make it, else any."""
    if item.type is ItemType.INTEGER:
        return "1"
    places = item.bounds.places
    numeric: Any = item.type in {ItemType.DECIMAL, ItemType.QUANTITY}
    if not numeric:
        return ""
    return "any" if places is None else f"0.{'0' * (places - 1)}1" if places else "1"
