"""What a person put into a form field, as answers. A text that is no value of its item stays as it was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from smart_app.sdc.filling import UNREAD
from smart_app.sdc.shapes import Fragment, Item, ItemType
from smart_app.sdc.texts import entry, value_of

MAX_CHARACTERS = 1_000_000

# What FHIR allows in no string: control characters, and halves of characters.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,18})(?:\.[0-9]{1,18})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
_LARGEST_INTEGER = 2**31 - 1
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")
_PARTIAL = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2]))?")
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{1,40}/[A-Za-z0-9\-.]{1,64}")


_MOMENT = re.compile(r"(.*T[0-9]{2}:[0-9]{2})(?::00)?(:[0-9]{2})?(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_OFFSET = re.compile(r"([+-])(0[0-9]|1[0-4]):([0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]{0,40}(?:/[A-Za-z0-9_+\-]{1,40}){0,2}")


class Field(msgspec.Struct, frozen=True):
    """One field of a form: its text, and what is chosen beside it (a unit, or a time zone)."""

    text: str
    beside: str = ""


def read_fields(item: Item, fields: Sequence[Field], held: Sequence[Fragment] = ()) -> tuple[Fragment, ...]:
    """Answers out of the fields of one item; empty texts are no answers.

    A field that says what it showed for an answer of ``held`` stays that answer, with all that a field cannot show:
    seconds, a comparator, a unit that the form does not offer. Options are named by their keys. Whatever is no value of
    the item becomes ``{"unread": text}``: it is kept, shown back, and blocks completion.
    """
    found: list[Fragment] = []
    left = list(held)
    for field in fields:
        written = _FORBIDDEN.sub("", field.text[:MAX_CHARACTERS])
        if not written.strip():
            continue
        same = next((at for at, one in enumerate(left) if _says(item, field_of(one), Field(written, field.beside))), -1)
        if same >= 0:
            found.append(left.pop(same))
        else:
            found.append(_read(item, written, field.beside, held) or {UNREAD: written})
    return tuple(found)


def field_of(fragment: Fragment) -> Field:
    """What the field of an answer shows: a quantity's number and unit, a moment's own clock time and offset."""
    text, value = entry(fragment), value_of(fragment)
    if "valueDateTime" in fragment:
        parts = _MOMENT.fullmatch(text)
        if parts is not None:
            return Field(parts[1] + (parts[2] or ""), "+00:00" if parts[3] == "Z" else parts[3])
    if isinstance(value, Mapping) and "value" in value:
        return Field(text, str(value.get("code") or value.get("unit") or ""))
    return Field(text)


def _says(item: Item, shown: Field, sent: Field) -> bool:
    """Whether a field came back as it was shown. A browser may change line ends, and spaces in a field of one line."""
    if item.type in {ItemType.QUANTITY, ItemType.DATE_TIME} and shown.beside != sent.beside:
        return False
    if item.type is ItemType.TEXT or item.control == "text-area":
        return shown.text.replace("\r\n", "\n").strip() == sent.text.replace("\r\n", "\n").strip()
    return shown.text.split() == sent.text.split()


def zone_of(name: str) -> tzinfo | None:
    """``+05:30``, or a name as ``Europe/Berlin``; None for anything else."""
    if offset := _OFFSET.fullmatch(name):
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-size if offset[1] == "-" else size)
    if name == "Z":
        return UTC
    try:
        return ZoneInfo(name) if _ZONE.fullmatch(name) else None
    except (OSError, ValueError, KeyError):
        return None


def _read(item: Item, text: str, beside: str, held: Sequence[Fragment]) -> Fragment | None:
    if item.choices.options or item.type in {ItemType.CHOICE, ItemType.OPEN_CHOICE}:
        option = _option(item, text)
        if option is not None:
            return option
        if item.type is ItemType.OPEN_CHOICE:
            return {"valueString": text.strip()}
        if item.type is ItemType.CHOICE or item.choices.options:
            return _searched(item, text)
    if item.type is ItemType.QUANTITY:
        return _quantity(item, text.strip(), beside, held)
    if item.type is ItemType.DATE_TIME:
        return _date_time(text.strip(), beside)
    return _READERS[item.type](text)


def _option(item: Item, text: str) -> Fragment | None:
    """The option with this key, or the only one that is called so."""
    for option in item.choices.options:
        if option.key == text:
            return option.value
    called = [one.value for one in item.choices.options if one.display.casefold() == text.strip().casefold()]
    return called[0] if len(called) == 1 else None


def _searched(item: Item, text: str) -> Fragment | None:
    """A coding of a list that could not be read whole, sent back as ``system|code``."""
    system, bar, code = text.strip().partition("|")
    return {"valueCoding": {"system": system, "code": code}} if item.choices.value_set and bar and code else None


def _number(text: str) -> Decimal | None:
    """A decimal number. A comma is refused, not guessed: 1,500 is read differently in different countries."""
    plain = text.strip()
    return Decimal(plain) if _DECIMAL.fullmatch(plain) else None


def _decimal(text: str) -> Fragment | None:
    number = _number(text)
    return None if number is None else {"valueDecimal": number}


def _integer(text: str) -> Fragment | None:
    plain = text.strip()
    number = int(plain) if _INTEGER.fullmatch(plain) else None
    return {"valueInteger": number} if number is not None and abs(number) <= _LARGEST_INTEGER else None


def _boolean(text: str) -> Fragment | None:
    return {"valueBoolean": text == "true"} if text in {"true", "false"} else None


def _date(text: str) -> Fragment | None:
    plain = text.strip()
    return {"valueDate": plain} if _is_date(plain) else None


def _is_date(text: str) -> bool:
    if _PARTIAL.fullmatch(text):
        return True
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _date_time(text: str, zone: str) -> Fragment | None:
    """A browser's ``2026-11-25T14:30`` gets the offset that its zone has then; without one it is no moment yet.

    Whole dates stay dates.
    """
    if _is_date(text):
        return {"valueDateTime": text}
    moment = clock_time(text)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone_of(zone))
    return {"valueDateTime": moment.isoformat(timespec="seconds")} if moment.tzinfo else None


def clock_time(text: str) -> datetime | None:
    """A day with a time, with or without an offset; None for anything else."""
    try:
        return datetime.fromisoformat(text.strip()) if "T" in text or ":" in text else None
    except ValueError:
        return None


def _time(text: str) -> Fragment | None:
    plain = text.strip()
    if not _TIME.fullmatch(plain):
        return None
    return {"valueTime": plain if plain.count(":") == 2 else f"{plain}:00"}


def _text(text: str) -> Fragment | None:
    return {"valueString": text.replace("\r\n", "\n").strip()}


def _url(text: str) -> Fragment | None:
    plain = text.strip()
    return {"valueUri": plain} if not re.search(r"\s", plain) and ":" in plain else None


def _reference(text: str) -> Fragment | None:
    plain = text.strip()
    return {"valueReference": {"reference": plain}} if _REFERENCE.fullmatch(plain) else None


def _nothing(_: str) -> Fragment | None:
    return None


def _quantity(item: Item, text: str, unit: str, held: Sequence[Fragment]) -> Fragment | None:
    """A number with the unit that was chosen, or with the only one there is; else with one that an answer had."""
    number = _number(text)
    if number is None:
        return None
    quantity: dict[str, Any] = {"value": number}
    known = [one for one in (item.units.unit, *item.units.options) if one]
    chosen = next((one for one in known if unit in {one.get("code"), one.get("display")}), None)
    if chosen is None and not unit and len(known) == 1:
        chosen = known[0]
    if chosen is not None:
        quantity["unit"] = chosen.get("display") or chosen.get("code")
        quantity.update({name: chosen[name] for name in ("system", "code") if name in chosen})
    elif unit:
        same = next((one for one in held if "valueQuantity" in one and field_of(one).beside == unit), None)
        had = {} if same is None else same["valueQuantity"]
        quantity["unit"] = unit
        quantity.update({name: had[name] for name in ("unit", "system", "code") if name in had})
    return {"valueQuantity": quantity}


_READERS: Mapping[ItemType, Callable[[str], Fragment | None]] = {
    ItemType.BOOLEAN: _boolean,
    ItemType.DECIMAL: _decimal,
    ItemType.INTEGER: _integer,
    ItemType.DATE: _date,
    ItemType.TIME: _time,
    ItemType.STRING: _text,
    ItemType.TEXT: _text,
    ItemType.URL: _url,
    ItemType.REFERENCE: _reference,
    ItemType.ATTACHMENT: _nothing,
    ItemType.GROUP: _nothing,
    ItemType.DISPLAY: _nothing,
}
