"""From the fields of a posted form to changes of a filling. What a browser sends is a stranger's text like any other.

Fields of the item at ``key``: ``p:key`` says that it stood on the page, ``a:key`` its values, ``u:key`` its unit,
``z:key`` its time zone, ``w:key`` texts beside the options, ``f:key`` a file, ``x:key`` answers to be taken away. Of an
item with several answers there is one ``u:key`` or ``z:key`` for each ``a:key``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import msgspec
from werkzeug.datastructures import FileStorage, MultiDict

from smart_app.forms.coverage_form import Answered, Change, Opened, RowAdded, RowRemoved
from smart_app.sdc import keys
from smart_app.sdc.entry import Field, read_fields
from smart_app.sdc.filling import same_value
from smart_app.sdc.shapes import Fragment, Item, ItemType
from smart_app.sdc.texts import value_of
from smart_app.sdc.validate import fits

FOUND = "coding:"  # a radio of a search result: its Coding as JSON follows
REFERRED = "reference:"
_MOST_BYTES = 5_000_000


class _Coding(msgspec.Struct, frozen=True):
    system: str = ""
    code: str = ""
    display: str = ""
    version: str = ""


class _Reference(msgspec.Struct, frozen=True):
    reference: str
    display: str = ""


def changes_in(
    opened: Opened, fields: MultiDict[str, str], files: MultiDict[str, FileStorage]
) -> tuple[list[Change], dict[str, str]]:
    """The changes that the fields make, and what is wrong with a file by key; other wrong values stay visible."""
    found: list[Change] = []
    wrong: dict[str, str] = {}
    for name in fields:
        if not name.startswith("p:"):
            continue
        key = name[2:]
        item = keys.item_of(opened.form, key)
        if item is None or not item.is_question or item.read_only:
            continue
        if item.type is ItemType.ATTACHMENT:
            found += _files(opened, item, key, fields, files, wrong)
        else:
            found.append(Answered(key, _values(item, key, fields, opened.file.filling.state(key).values)))
    return found, wrong


def row_change(action: str) -> Change | None:
    """``add:key`` and ``remove:key[n]`` of the buttons beside repeating groups."""
    word, _, key = action.partition(":")
    if word == "add":
        return RowAdded(key)
    number = keys.row_number(key)
    if word == "remove" and number:
        return RowRemoved(key.removesuffix(f"[{number}]"), number)
    return None


def _values(item: Item, key: str, fields: MultiDict[str, str], held: Sequence[Fragment]) -> tuple[Fragment, ...]:
    if f"x:{key}" in fields:
        return ()
    texts = fields.getlist(f"a:{key}")
    written = [text.strip() for text in fields.getlist(f"w:{key}") if text.strip()]
    beside = fields.getlist(f"u:{key}") or fields.getlist(f"z:{key}")
    plain: list[Field] = []
    found: list[Fragment] = []
    for text, chosen in zip_longest(texts, beside[: len(texts)], fillvalue=beside[-1] if beside else ""):
        if not text.startswith((FOUND, REFERRED)):
            plain.append(Field(text, chosen))
        elif (fragment := _found(text, held)) is not None:
            found.append(fragment)
    if written and not item.repeats:
        plain, found = [], []
    values = (*read_fields(item, [*plain, *map(Field, written)], held), *found)
    if item.type not in {ItemType.CHOICE, ItemType.OPEN_CHOICE, ItemType.REFERENCE}:
        return values
    values = tuple(one for at, one in enumerate(values) if not any(same_value(one, each) for each in values[:at]))
    return tuple(sorted(values, key=lambda one: held.index(one) if one in held else len(held)))  # as they stood


def _found(text: str, held: Sequence[Fragment]) -> Fragment | None:
    """The value behind a search result that was chosen; an answer of ``held`` that came back is that answer."""
    try:
        said = msgspec.json.decode(text.partition(":")[2])
        if (same := next((one for one in held if _plainly(value_of(one)) == said), None)) is not None:
            return same
        if text.startswith(FOUND):
            coding = msgspec.json.decode(text.removeprefix(FOUND), type=_Coding)
            members = {name: getattr(coding, name) for name in coding.__struct_fields__}
            return {"valueCoding": {name: value for name, value in members.items() if value}}
        if text.startswith(REFERRED):
            named = msgspec.json.decode(text.removeprefix(REFERRED), type=_Reference)
            return {"valueReference": {"reference": named.reference, "display": named.display}}
    except msgspec.MsgspecError:
        return None
    return None


def _plainly(value: Any) -> Any:
    """A value as a browser sends it back."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _files(
    opened: Opened,
    item: Item,
    key: str,
    fields: MultiDict[str, str],
    files: MultiDict[str, FileStorage],
    wrong: dict[str, str],
) -> Iterable[Change]:
    """A chosen file is added (or takes the place of the one); without one the answer stays as it is."""
    held = list(opened.file.filling.state(key).values)
    if f"x:{key}" in fields:
        held = []
    fresh = []
    for file in files.getlist(f"f:{key}"):
        if not file.filename:
            continue
        made, complaint = _attachment(item, file)
        if made is None:
            wrong[key] = complaint
        else:
            fresh.append(made)
    if not fresh and f"x:{key}" not in fields:
        return ()
    return (Answered(key, tuple(held + fresh) if item.repeats else tuple(fresh)),)


def _attachment(item: Item, file: FileStorage) -> tuple[Fragment | None, str]:
    most = min(item.bounds.max_bytes or _MOST_BYTES, _MOST_BYTES)
    content = file.stream.read(most + 1)
    kind = (file.mimetype or "application/octet-stream").lower()
    if len(content) > most:
        return None, f"The file is larger than {most // 1000} kB. Choose a smaller one."
    if not content:
        return None, "The file is empty. Choose another one."
    if item.bounds.mime_types and not fits(kind, item.bounds.mime_types):
        return None, f"This kind of file is not accepted here. Allowed: {', '.join(item.bounds.mime_types)}."
    title = (file.filename or "").rpartition("/")[2].rpartition("\\")[2][:200]
    data = base64.b64encode(content).decode()
    attachment: dict[str, Any] = {"contentType": kind, "title": title, "data": data, "size": len(content)}
    return {"valueAttachment": attachment}, ""
