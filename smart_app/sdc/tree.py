"""A filled form as the items of a QuestionnaireResponse: what expressions read, and what is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smart_app.sdc import keys
from smart_app.sdc.filling import UNREAD, Answer, Filling
from smart_app.sdc.places import holders
from smart_app.sdc.shapes import Form, Item, ItemType

Written = Callable[[Answer], dict[str, Any]]
Kept = Callable[[str], bool]
Beside = Callable[[str], list[dict[str, Any]]]


class Tree:
    """The items, and where each key stands among them (``found`` by key: one response item, or one row of it)."""

    def __init__(
        self,
        form: Form,
        filling: Filling,
        keep: Kept,
        write: Written,
        beside: Beside = lambda _key: [],
        *,
        unasked: bool = False,
    ) -> None:
        """``keep`` says which keys are in it; ``write`` makes the ``answer`` element of one answer.

        ``beside`` gives further extensions of the item at a key. With ``unasked``, items that the form does not have
        stand where they stood.
        """
        self._unasked = filling.unasked if unasked else {}
        self._filling, self._keep, self._write, self._beside = filling, keep, write, beside
        self.found: dict[str, dict[str, Any]] = {}
        self.items = self._items(form.items, "")

    def _items(self, items: tuple[Item, ...], above: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for item in items:
            key = keys.below(above, item.link_id)
            if item.type is ItemType.DISPLAY or not self._keep(key):
                continue
            found += self._groups(item, key) if item.type is ItemType.GROUP else self._question(item, key)
        return [*found, *(dict(one) for one in self._unasked.get(above, ()))]

    def _groups(self, item: Item, key: str) -> list[dict[str, Any]]:
        found = []
        for holder in holders(key, item, self._filling):
            inner = self._items(item.items, holder)
            extension = self._filling.extensions.get(holder) or self._filling.extensions.get(key)
            if inner or extension:
                found.append(self._one(item, holder, extension, {"item": inner} if inner else {}))
        return found

    def _question(self, item: Item, key: str) -> list[dict[str, Any]]:
        answers = [self._write(one) for one in self._filling.state(key).answers if UNREAD not in one.value]
        below = item.items or key in self._unasked
        for number, holder in enumerate(holders(key, item, self._filling) if below else ()):
            inner = self._items(item.items, holder)
            if inner and number < len(answers):
                answers[number]["item"] = inner
            elif inner:
                answers.append({"item": inner})
        extension = [*self._filling.extensions.get(key, ()), *self._beside(key)]
        if not answers and not extension:
            return []
        return [self._one(item, key, extension, {"answer": answers} if answers else {})]

    def _one(self, item: Item, key: str, extension: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {"linkId": item.link_id}
        if extension:
            made["extension"] = list(extension)
        if item.text:
            made["text"] = item.text
        made.update(members)
        self.found[key] = made
        return made
