"""What an item offers to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from smart_app.sdc.expression_reader import expressions, toggles
from smart_app.sdc.marks import Marks
from smart_app.sdc.shapes import Choices, Fragment, Option, Units, Use
from smart_app.sdc.texts import option_key, shown, value_of
from smart_app.sdc.value_sets import ValueSets
from smart_app.sdc.xhtml import sanitised

LONGEST_LIST = 500
"""Options that are listed at once; a longer list is searched (row 111)."""

_OPTION_VALUES = ("valueCoding", "valueString", "valueInteger", "valueDate", "valueTime", "valueReference")


def read_choices(raw: Mapping[str, Any], marks: Marks, sets: ValueSets, where: str) -> Choices:
    """Options of one item, from itself or from its value set."""
    answer_expressions = expressions(marks, Use.ANSWER, where)
    choices = Choices(
        open_label=marks.text("questionnaire-openLabel", "openLabel"),
        toggles=toggles(marks, where),
        expression=answer_expressions[0] if answer_expressions else None,
        reference_types=marks.texts("questionnaire-referenceResource"),
        reference_profiles=marks.texts("questionnaire-referenceProfile"),
        lookup_questionnaires=marks.texts("questionnaire-lookupQuestionnaire"),
    )
    own = raw.get("answerOption")
    canonical = raw.get("answerValueSet")
    if isinstance(own, list) and own:
        options = _distinct(_option(one) for one in own if isinstance(one, Mapping))
        return msgspec.structs.replace(choices, options=options)
    if isinstance(canonical, str):
        return _from_value_set(choices, canonical, sets)
    return choices


def _from_value_set(choices: Choices, canonical: str, sets: ValueSets) -> Choices:
    listed = sets.listed(canonical)
    options = _distinct(_option({"valueCoding": coding}) for coding in listed.codings)
    if not listed.whole:
        note = "The list of answers did not come with the form. Type a few letters to search it."
        return msgspec.structs.replace(choices, options=options[:LONGEST_LIST], value_set=canonical, note=note)
    if len(options) > LONGEST_LIST:
        note = f"{len(options)} answers are possible. Type a few letters to find yours."
        return msgspec.structs.replace(choices, options=options, value_set=canonical, note=note)
    return msgspec.structs.replace(choices, options=options)


def _distinct(options: Iterable[Option | None]) -> tuple[Option, ...]:
    """Each answer once: a second option with the same key could never be told from the first."""
    found: dict[str, Option] = {}
    for one in options:
        if one is not None:
            found.setdefault(one.key, one)
    return tuple(found.values())


def _option(raw: Mapping[str, Any]) -> Option | None:
    member = next((name for name in _OPTION_VALUES if name in raw), None)
    if member is None:
        return None
    plain: Fragment = {member: _plain(raw[member])}
    marks = Marks(raw)
    on_value = [Marks(raw[member]), Marks(raw.get(f"_{member}"))]
    if isinstance(raw[member], Mapping):
        on_value.append(Marks(raw[member].get("_display")))
    every = [marks, *on_value]
    return Option(
        key=option_key(plain),
        value=plain,
        display=shown(plain),
        html=next((clean for one in every if (clean := sanitised(one.value("rendering-xhtml")))), ""),
        prefix=marks.text("questionnaire-optionPrefix"),
        exclusive=marks.flag("questionnaire-optionExclusive"),
        initially=raw.get("initialSelected") is True,
        weight=next((weight for one in every if (weight := _weight(one)) is not None), None),
    )


def _weight(marks: Marks) -> Decimal | None:
    return marks.number("itemWeight", "ordinalValue", "questionnaire-ordinalValue", "codesystem-ordinalValue")


def _plain(value: Any) -> Any:
    """The value without what only its rendering needs: an answer is the Coding alone."""
    if not isinstance(value, Mapping):
        return value
    return {name: part for name, part in value.items() if name not in {"extension", "_display"}}


def read_units(marks: Marks, sets: ValueSets) -> Units:
    """Units of a quantity, as Codings."""
    offered = tuple(_plain(one) for one in marks.values("questionnaire-unitOption") if isinstance(one, Mapping))
    canonical = marks.text("questionnaire-unitValueSet")
    if canonical and not offered:
        offered = tuple(_plain(one) for one in sets.listed(canonical).codings[:LONGEST_LIST])
    unit = marks.value("questionnaire-unit")
    return Units(
        unit=_plain(unit) if isinstance(unit, Mapping) else None,
        options=offered,
        value_set=canonical,
        open=bool(marks.text("questionnaire-unitOpen")) or not (offered or unit),
    )


def initial_fragments(raw: Mapping[str, Any]) -> tuple[Fragment, ...]:
    """``Questionnaire.item.initial`` as fragments."""
    found = raw.get("initial")
    fragments = []
    for one in found if isinstance(found, list) else ():
        if isinstance(one, Mapping):
            fragment = {name: value for name, value in one.items() if name.startswith("value")}
            if value_of(fragment) is not None:
                fragments.append(fragment)
    return tuple(fragments)
