"""A filling as a QuestionnaireResponse and back, without losing a digit, an origin or an extension.

DTR 2.0.1 has one word for what was filled in, 2.2 tells the EHR's from the payer's. Evidence and replaced answers go
along in two extensions of ours, which every other reader may ignore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from smart_app.sdc import keys
from smart_app.sdc.context import Context
from smart_app.sdc.evaluation import look
from smart_app.sdc.filling import NOTHING, Answer, AnswerState, Author, Filling, Note, Origin
from smart_app.sdc.shapes import Form, Fragment, Item
from smart_app.sdc.tree import Tree

ORIGIN_URL = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/information-origin"
EVIDENCE_URL = "https://cds.example.org/fhir/StructureDefinition/answer-evidence"
REPLACED_URL = "https://cds.example.org/fhir/StructureDefinition/answer-replaced"
UNASKED_URL = "https://cds.example.org/fhir/StructureDefinition/answer-unasked"

_OURS = frozenset({ORIGIN_URL, EVIDENCE_URL, REPLACED_URL})
_FINE_WORDS = frozenset({"2.2"})


def to_response(
    form: Form,
    filling: Filling,
    context: Context,
    header: Mapping[str, Any],
    *,
    vocabulary: str = "2.0.1",
    only_enabled: bool = True,
) -> dict[str, Any]:
    """The response. ``header`` holds its other members as they shall be (id, status, subject, author, extension).

    ``only_enabled`` leaves out answers of items that are not enabled: always for ``completed`` (SD-08); a draft may
    keep them. ``vocabulary`` is the DTR version of its reader. Texts that are no value of their item are left out.
    Items that the form does not have stay in a draft where they stood; beside a completed form they are an extension.
    """
    at = look(form, filling, context)
    tree = Tree(
        form,
        filling,
        at.enabled if only_enabled else (lambda _key: True),
        lambda answer: _answer(answer, fine=vocabulary in _FINE_WORDS),
        lambda key: _replaced(filling.state(key), fine=vocabulary in _FINE_WORDS),
        unasked=not only_enabled,
    )
    made: dict[str, Any] = {"resourceType": "QuestionnaireResponse", **header}
    if only_enabled and filling.unasked:
        made["extension"] = [*made.get("extension", ()), *map(_unasked, unasked_answers(filling))]
    made.setdefault("questionnaire", form.canonical)
    if tree.items:
        made["item"] = tree.items
    return made


def _answer(answer: Answer, *, fine: bool) -> dict[str, Any]:
    extension = [_origin(answer, fine=fine), *(_evidence(note) for note in answer.notes), *answer.extension]
    return {"extension": extension, **answer.value}


def _word(origin: Origin, *, fine: bool) -> str:
    if not origin.is_auto:
        return origin.value
    if not fine:
        return Origin.AUTO.value
    return Origin.AUTO_CLIENT.value if origin is Origin.AUTO else origin.value


def _origin(answer: Answer, *, fine: bool) -> dict[str, Any]:
    """``author`` if and only if a person answered (dtrx-1)."""
    inner: list[dict[str, Any]] = [{"url": "source", "valueCode": _word(answer.origin, fine=fine)}]
    author = answer.author
    if author is not None and not answer.origin.is_auto:
        who: dict[str, Any] = {"reference": author.reference}
        if author.display:
            who["display"] = author.display
        parts: list[dict[str, Any]] = [{"url": "practitioner", "valueReference": who}]
        if author.role:
            parts.insert(0, {"url": "role", "valueCodeableConcept": author.role})
        inner.append({"url": "author", "extension": parts})
    return {"url": ORIGIN_URL, "extension": inner}


def _evidence(note: Note) -> dict[str, Any]:
    parts = (("source", note.source), ("date", note.date), ("shows", note.shows))
    return {"url": EVIDENCE_URL, "extension": [{"url": url, "valueString": text} for url, text in parts if text]}


def _replaced(state: AnswerState, *, fine: bool) -> list[dict[str, Any]]:
    """The prefilled answers that a person replaced, beside the item they were replaced in."""
    return [
        {
            "url": REPLACED_URL,
            "extension": [
                {"url": "value", **one.value},
                {"url": "source", "valueCode": _word(one.origin, fine=fine)},
                *(_evidence(note) for note in one.notes),
            ],
        }
        for one in state.before
    ]


class Unasked(msgspec.Struct, frozen=True):
    """One answer whose question this version of the form does not have."""

    link_id: str
    question: str
    value: Fragment


def unasked_answers(filling: Filling) -> tuple[Unasked, ...]:
    """Every answer whose question the form does not have, in order."""
    return tuple(each for items in filling.unasked.values() for one in items for each in _answers_in(one))


def _answers_in(raw: Mapping[str, Any]) -> Iterator[Unasked]:
    answers = [one for one in raw.get("answer") or () if isinstance(one, Mapping)]
    for one in answers:
        value = {name: part for name, part in one.items() if name.startswith("value")}
        if value:
            yield Unasked(str(raw.get("linkId", "")), str(raw.get("text", "")), value)
    for holder in (*answers, raw):
        inner = holder.get("item")
        for one in inner if isinstance(inner, list) else ():
            if isinstance(one, Mapping):
                yield from _answers_in(one)


def _unasked(one: Unasked) -> dict[str, Any]:
    parts = [
        {"url": url, "valueString": text} for url, text in (("linkId", one.link_id), ("text", one.question)) if text
    ]
    return {"url": UNASKED_URL, "extension": [*parts, {"url": "value", **one.value}]}


# ------------------------------------------------------------------ reading


def from_response(form: Form, response: Mapping[str, Any], *, auto: Origin = Origin.AUTO) -> Filling:
    """The filling that a response holds.

    ``auto`` is what 2.0.1's one word means in it: the payer's draft says AUTO_SERVER, one of ours AUTO_CLIENT. An
    answer without origin counts as a person's, except where the form calculates it (SD-07). Items that the form does
    not have, or has otherwise, become ``unasked``.
    """
    reader = _Reader(form, auto)
    reader.items(response.get("item"), form.items, "")
    return Filling(
        states=reader.states,
        rows=reader.rows,
        extensions=reader.extensions,
        unasked={key: tuple(items) for key, items in reader.unasked.items()},
    )


class _Reader:
    def __init__(self, form: Form, auto: Origin) -> None:
        self._form, self._auto = form, auto
        self.states: dict[str, AnswerState] = {}
        self.rows: dict[str, int] = {}
        self.extensions: dict[str, tuple[Fragment, ...]] = {}
        self.unasked: dict[str, list[Fragment]] = {}
        self._read: set[str] = set()

    def items(self, raw: Any, expected: tuple[Item, ...], above: str) -> None:
        by_link = {item.link_id: item for item in expected}
        for one in raw if isinstance(raw, list) else ():
            item = by_link.get(one.get("linkId", "")) if isinstance(one, Mapping) else None
            key = keys.below(above, item.link_id) if item is not None else ""
            if item is not None and self._fits(one, item, key):
                self._item(one, item, key)
            elif isinstance(one, Mapping):
                self.unasked.setdefault(above, []).append(one)

    def _fits(self, raw: Mapping[str, Any], item: Item, key: str) -> bool:
        """Whether the form has this item so: a second one, or one with answers where none belong, has no place."""
        several = item.is_row_group or (item.is_question and item.repeats and not item.items)
        again = key in self._read and not several
        self._read.add(key)
        return not again and (item.is_question or not raw.get("answer"))

    def _item(self, raw: Mapping[str, Any], item: Item, key: str) -> None:
        holder = key
        if item.is_row_group:
            self.rows[key] = self.rows.get(key, 0) + 1
            holder = keys.row(key, self.rows[key])
        own = [one for one in raw.get("extension") or () if isinstance(one, Mapping)]
        kept = tuple(one for one in own if one.get("url") != REPLACED_URL)
        if kept:
            self.extensions[holder] = kept
        if item.is_question:
            self._question(raw, item, key, tuple(one for one in own if one.get("url") == REPLACED_URL))
        else:
            self.items(raw.get("item"), item.items, holder)

    def _question(self, raw: Mapping[str, Any], item: Item, key: str, replaced: tuple[Fragment, ...]) -> None:
        answers = [one for one in raw.get("answer") or () if isinstance(one, Mapping)]
        read = [found for one in answers if (found := self._answer(one, item)) is not None]
        before = tuple(found for one in replaced if (found := self._before(one)) is not None)
        if read or before:
            touched = any(not one.origin.is_auto for one in read) or bool(before)
            held = self.states.get(key, NOTHING)  # some write one item for each answer
            touched = touched or held.touched
            self.states[key] = AnswerState((*held.answers, *read), (*held.before, *before), touched=touched)
        for number, one in enumerate(answers, 1):
            self.items(one.get("item"), item.items, keys.row(key, number) if keys.has_rows(item) else key)
        self.items(raw.get("item"), item.items, key)

    def _answer(self, raw: Mapping[str, Any], item: Item) -> Answer | None:
        value = {name: part for name, part in raw.items() if name.startswith(("value", "_value"))}
        if not value:
            return None
        every = [one for one in raw.get("extension") or () if isinstance(one, Mapping)]
        origin, author = self._origin(every, item)
        return Answer(
            value,
            origin,
            author,
            tuple(_note(one) for one in every if one.get("url") == EVIDENCE_URL),
            tuple(one for one in every if one.get("url") not in _OURS),
        )

    def _origin(self, every: list[Mapping[str, Any]], item: Item) -> tuple[Origin, Author | None]:
        for one in every:
            if one.get("url") == ORIGIN_URL:
                parts = {inner.get("url"): inner for inner in _inner(one)}
                return self._word(parts.get("source", {}).get("valueCode")), _author(parts.get("author"))
        return (self._auto if item.sources.calculated else Origin.MANUAL), None

    def _word(self, word: Any) -> Origin:
        if word == Origin.AUTO.value:
            return self._auto
        return Origin(word) if isinstance(word, str) and word in _WORDS else Origin.MANUAL

    def _before(self, raw: Mapping[str, Any]) -> Answer | None:
        parts = {one.get("url"): one for one in _inner(raw)}
        value = {name: part for name, part in parts.get("value", {}).items() if name.startswith("value")}
        if not value:
            return None
        origin = self._word(parts.get("source", {}).get("valueCode"))
        notes = tuple(_note(one) for one in _inner(raw) if one.get("url") == EVIDENCE_URL)
        return Answer(value, origin if origin.is_auto else self._auto, notes=notes)


_WORDS = frozenset(one.value for one in Origin)


def _inner(extension: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (one for one in extension.get("extension") or () if isinstance(one, Mapping))


def _author(raw: Mapping[str, Any] | None) -> Author | None:
    parts = {one.get("url"): one for one in _inner(raw or {})}
    who = parts.get("practitioner", {}).get("valueReference")
    if not isinstance(who, Mapping) or not isinstance(who.get("reference"), str):
        return None
    role = parts.get("role", {}).get("valueCodeableConcept")
    return Author(who["reference"], str(who.get("display", "")), role if isinstance(role, Mapping) else {})


def _note(raw: Mapping[str, Any]) -> Note:
    parts = {one.get("url"): one for one in _inner(raw)}

    def text(name: str) -> str:
        part = parts.get(name, {})
        reference = part.get("valueReference")
        value = reference.get("reference") if isinstance(reference, Mapping) else part.get("valueString")
        return value if isinstance(value, str) else ""

    return Note(text("source"), text("date"), text("shows"))


def with_authors(filling: Filling, author: Author) -> Filling:
    """Answers of persons whose writer did not say who: they are this author's, who sends them (dtrx-1)."""
    states = {}
    for key, state in filling.states.items():
        answers = tuple(
            msgspec.structs.replace(one, author=author) if one.author is None and not one.origin.is_auto else one
            for one in state.answers
        )
        states[key] = msgspec.structs.replace(state, answers=answers)
    return msgspec.structs.replace(filling, states=states)
