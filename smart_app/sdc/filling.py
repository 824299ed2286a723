"""What has been answered, by whom, and on what ground.

Every change is a function from one filling to the next, so that origins are right by construction (AP-15): only
``answer`` writes ``manual`` and ``override``, always with an author; only ``prefill`` writes the ``auto`` ones,
always without. Answers of items that are not enabled stay here (SD-08); the response leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from smart_app.sdc import keys
from smart_app.sdc.shapes import Form, Fragment, Item

UNREAD = "unread"
"""The member of a fragment that holds a text which is no value of the item's type. It is shown back and blocks."""


class Origin(StrEnum):
    """Where an answer comes from. ``AUTO`` is 2.0.1's word where the writer did not say by whom."""

    AUTO = "auto"
    AUTO_CLIENT = "auto-client"
    AUTO_SERVER = "auto-server"
    OVERRIDE = "override"
    MANUAL = "manual"

    @property
    def is_auto(self) -> bool:
        """Whether no person has touched it."""
        return self in {Origin.AUTO, Origin.AUTO_CLIENT, Origin.AUTO_SERVER}


class Author(msgspec.Struct, frozen=True):
    """Who answered. ``reference`` is ``Practitioner/x``; ``role`` is a CodeableConcept or empty."""

    reference: str
    display: str = ""
    role: Fragment = {}


class Note(msgspec.Struct, frozen=True):
    """Evidence behind a prefilled answer: which resource, of when, and what it shows, as texts."""

    source: str
    date: str = ""
    shows: str = ""


class Answer(msgspec.Struct, frozen=True):
    """One value. ``extension`` are those of a response that mean nothing here and go back untouched."""

    value: Fragment
    origin: Origin
    author: Author | None = None
    notes: tuple[Note, ...] = ()
    extension: tuple[Fragment, ...] = ()


class AnswerState(msgspec.Struct, frozen=True):
    """All about one item at one key. ``before``: the prefilled answers that a person replaced.

    ``touched``: a person decided here, possibly for no answer. ``asked``: population had its turn (SD-05).
    """

    answers: tuple[Answer, ...] = ()
    before: tuple[Answer, ...] = ()
    touched: bool = False
    asked: bool = False

    @property
    def values(self) -> tuple[Fragment, ...]:
        """The values alone."""
        return tuple(answer.value for answer in self.answers)

    @property
    def origin(self) -> Origin | None:
        """The origin of the first answer, None without one."""
        return self.answers[0].origin if self.answers else None


NOTHING = AnswerState()


class Filling(msgspec.Struct, frozen=True):
    """A form as far as it is filled. ``rows`` counts the rows of groups that repeat, by key without row number.

    ``row_sources`` says for a row that population made which result it stands for (``evaluation.identity``), so that
    it stays that one's when others come and go; a row that a person added has none (SD-06).
    ``extensions`` are a response item's own (a signature), by key. ``unasked`` are response items that this version
    of the form does not have, as they came, by the key of what holds them ("" at the root); nothing of them is lost.
    """

    states: Mapping[str, AnswerState] = {}
    rows: Mapping[str, int] = {}
    row_sources: Mapping[str, str] = {}
    extensions: Mapping[str, tuple[Fragment, ...]] = {}
    unasked: Mapping[str, tuple[Fragment, ...]] = {}

    def state(self, key: str) -> AnswerState:
        """What is known at one place."""
        return self.states.get(key, NOTHING)

    def row_count(self, key: str, item: Item) -> int:
        """How many rows a repeating group has at ``key``: at least one is always offered."""
        return max(self.rows.get(key, 0), item.min_occurs or 0, 1)


class UnknownKey(ValueError):
    """No item of this form is at that place."""


def answer(form: Form, filling: Filling, key: str, values: Sequence[Fragment], author: Author) -> Filling:
    """A person answers, changes an answer, or takes it away (no ``values``).

    A value that is there already keeps its origin and evidence. When a prefilled answer is replaced or taken out,
    what remains is ``override`` and the replaced answers are kept beside it; the prefilled value chosen again is
    the prefilled answer again. Raises UnknownKey.
    """
    item = _question(form, key)
    state = filling.state(key)
    wanted = tuple(values) if item.repeats else tuple(values)[:1]
    if same_values(wanted, state.values):
        return filling
    return with_state(filling, key, _answered(state, wanted, author))


def _answered(state: AnswerState, wanted: tuple[Fragment, ...], author: Author) -> AnswerState:
    prefilled = state.before or tuple(one for one in state.answers if one.origin.is_auto)
    lost = [one for one in prefilled if not _among(one.value, wanted)]
    answers = tuple(_one(value, state, lost=bool(lost), author=author) for value in wanted)
    return AnswerState(answers, tuple(prefilled) if lost else (), touched=True, asked=state.asked)


def _one(value: Fragment, state: AnswerState, *, lost: bool, author: Author) -> Answer:
    origin = Origin.OVERRIDE if lost else Origin.MANUAL
    for kept in (*state.answers, *state.before):
        if same_value(kept.value, value):
            if not lost or kept.origin is Origin.OVERRIDE:
                return kept
            return msgspec.structs.replace(kept, origin=origin, author=kept.author or author)
    return Answer(value, origin, author)


def prefill(filling: Filling, key: str, answers: Sequence[Answer]) -> Filling:
    """The machine answers. ``answers`` carry an ``auto`` origin and no author. A person's answer is never touched."""
    state = filling.state(key)
    if state.touched or any(not one.origin.is_auto for one in state.answers):
        return filling
    return with_state(filling, key, AnswerState(tuple(answers), asked=True))


def mark_overridden(filling: Filling, key: str, found: Sequence[Answer]) -> Filling:
    """Population now finds a value for what a person had typed: it counts as overridden by that person (AP-17)."""
    state = filling.state(key)
    if not any(one.origin is Origin.MANUAL for one in state.answers):
        return filling
    answers = tuple(
        msgspec.structs.replace(one, origin=Origin.OVERRIDE) if one.origin is Origin.MANUAL else one
        for one in state.answers
    )
    return with_state(filling, key, msgspec.structs.replace(state, answers=answers, before=tuple(found)))


def add_row(form: Form, filling: Filling, key: str) -> Filling:
    """One more row of the group at ``key`` (without row number), with its first values. Raises UnknownKey."""
    item = _rows_of(form, key)
    count = filling.row_count(key, item) + 1
    states = dict(filling.states)
    states.update(initial_states(item.items, keys.row(key, count)))
    return msgspec.structs.replace(filling, rows={**filling.rows, key: count}, states=states)


def initial_states(items: Sequence[Item], above: str) -> dict[str, AnswerState]:
    """The first values that the form itself gives to items below ``above``, by key: they are the payer's."""
    found: dict[str, AnswerState] = {}
    for item in items:
        key = keys.below(above, item.link_id)
        chosen = tuple(option.value for option in item.choices.options if option.initially)
        values = (item.sources.initial or chosen) if item.is_question else ()
        if values:
            answers = tuple(Answer(value, Origin.AUTO_SERVER) for value in (values if item.repeats else values[:1]))
            found[key] = AnswerState(answers, asked=True)
        found.update(initial_states(item.items, keys.row(key, 1) if keys.has_rows(item) else key))
    return found


def remove_row(form: Form, filling: Filling, key: str, number: int) -> Filling:
    """Row ``number`` of the group at ``key`` is taken out with its answers; later rows move up. Raises UnknownKey."""
    item = _rows_of(form, key)
    count = filling.row_count(key, item)
    if not 1 <= number <= count:
        raise UnknownKey("the group has no row with this number")
    return Filling(
        states=_moved(filling.states, key, number),
        rows={**_moved(filling.rows, key, number), key: max(count - 1, 0)},
        row_sources=_moved(filling.row_sources, key, number),
        extensions=_moved(filling.extensions, key, number),
        unasked=_moved(filling.unasked, key, number),
    )


def _moved(members: Mapping[str, Any], group: str, taken: int) -> dict[str, Any]:
    places = ((keys.moved(key, group, taken), value) for key, value in members.items())
    return {key: value for key, value in places if key is not None}


def with_state(filling: Filling, key: str, state: AnswerState) -> Filling:
    """The same filling with another state at one key."""
    return msgspec.structs.replace(filling, states={**filling.states, key: state})


def _question(form: Form, key: str) -> Item:
    item = keys.item_of(form, key)
    if item is None or not item.is_question or keys.row_number(key):
        raise UnknownKey("the form has no question at this place")
    return item


def _rows_of(form: Form, key: str) -> Item:
    item = keys.item_of(form, key)
    if item is None or not item.is_row_group or keys.row_number(key):
        raise UnknownKey("the form has no group with rows at this place")
    return item


def same_values(left: Sequence[Fragment], right: Sequence[Fragment]) -> bool:
    """Whether both hold the same answers in the same order."""
    return len(left) == len(right) and all(same_value(one, other) for one, other in zip(left, right, strict=True))


def _among(value: Fragment, values: Sequence[Fragment]) -> bool:
    return any(same_value(value, other) for other in values)


def same_value(left: Fragment, right: Fragment) -> bool:
    """Whether two answers say the same: a Coding by system and code, a number by its value, a unit by its code."""
    return _essence(left) == _essence(right)


def _essence(fragment: Fragment) -> tuple[Any, ...]:
    for kind, value in fragment.items():
        if kind == "valueCoding" and isinstance(value, Mapping):
            code = value.get("code")
            return (kind, value.get("system", ""), code) if code else (kind, value.get("display", ""), None)
        if kind == "valueQuantity" and isinstance(value, Mapping):
            return (kind, value.get("comparator"), value.get("value"), value.get("code") or value.get("unit"))
        if kind == "valueReference" and isinstance(value, Mapping) and value.get("reference"):
            return (kind, value["reference"])
        if kind.startswith("value") or kind == UNREAD:
            return (kind, value)
    return ()


_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_DECODER = msgspec.json.Decoder(Filling, float_hook=Decimal)


def to_bytes(filling: Filling) -> bytes:
    """A filling as it is kept between two requests; every digit stays."""
    return _ENCODER.encode(filling)


def from_bytes(kept: bytes) -> Filling:
    """What ``to_bytes`` wrote."""
    return _DECODER.decode(kept)
