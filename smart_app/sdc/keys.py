"""The place of an item in a filled form, as text: ``treatments[2]/dose/unit``.

A group that repeats, and a question that repeats and has items below it, carry the number of the row from 1. Link ids
are anything a payer writes; the four characters with a meaning here are escaped as in an address.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from smart_app.sdc.shapes import Form, Item

_ESCAPED = {"%": "%25", "/": "%2F", "[": "%5B", "]": "%5D"}
_LAST_ROW = re.compile(r"\[([0-9]+)\]\Z")


def segment(link_id: str) -> str:
    """A link id as a part of a key."""
    return "".join(_ESCAPED.get(letter, letter) for letter in link_id)


def below(parent: str, link_id: str) -> str:
    """The key of a child; ``parent`` is empty at the root."""
    return f"{parent}/{segment(link_id)}" if parent else segment(link_id)


def row(key: str, number: int) -> str:
    """The key of row ``number``, from 1."""
    return f"{key}[{number}]"


def parent(key: str) -> str:
    """The key of what holds this item, with its row; empty at the root."""
    return key.rpartition("/")[0]


def link_id(key: str) -> str:
    """The link id that a key ends in."""
    return unquote(_LAST_ROW.sub("", key.rpartition("/")[2]))


def row_number(key: str) -> int:
    """The row that a key ends in, 0 without one."""
    found = _LAST_ROW.search(key)
    return int(found[1]) if found else 0


def has_rows(item: Item) -> bool:
    """Whether keys below this item carry a row number."""
    return item.repeats and (item.is_row_group or (item.is_question and bool(item.items)))


def item_of(form: Form, key: str) -> Item | None:
    """The item that a key names, None when the form has no such place."""
    item = form.by_link.get(link_id(key))
    return item if item is not None and _fits(form, item, key) else None


def _fits(form: Form, item: Item, key: str) -> bool:
    """Whether the whole path is the form's, with row numbers only where rows are."""
    if row_number(key) and not has_rows(item):
        return False
    above, place = form.parents.get(item.link_id, ""), parent(key)
    if not above or not place:
        return above == place
    holder = form.by_link[above]
    if has_rows(holder) != bool(row_number(place)) or link_id(place) != above:
        return False
    return _fits(form, holder, _LAST_ROW.sub("", place))


def moved(key: str, group: str, taken: int) -> str | None:
    """Where ``key`` is after row ``taken`` of ``group`` was taken out: None for that row itself."""
    if not key.startswith(f"{group}["):
        return key
    number, _, rest = key[len(group) + 1 :].partition("]")
    if int(number) == taken:
        return None
    return key if int(number) < taken else f"{group}[{int(number) - 1}]{rest}"
