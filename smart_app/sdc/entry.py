"""What a person put into a form field, as answers. A text that is no value of its item stays as it was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any

from smart_app.sdc.filling import UNREAD
from smart_app.sdc.shapes import Fragment, Item, ItemType

MAX_CHARACTERS = 1_000_000

# What FHIR allows in no string: control characters, and halves of characters.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,18})(?:\.[0-9]{1,18})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
_LARGEST_INTEGER = 2**31 - 1
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")
_PARTIAL = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2]))?")
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{1,40}/[A-Za-z0-9\-.]{1,64}")


def read_entry(item: Item, texts: Sequence[str], unit: str = "", *, zone: tzinfo | None = None) -> tuple[Fragment, ...]:
    """Answers out of the texts of one field; empty texts are no answers.

    Options are named by their keys. ``unit`` is the code chosen beside a quantity. ``zone`` is that of times without
    one. Whatever is no value of the item becomes ``{"unread": text}``: it is kept, shown back, and blocks completion.
    """
    found: list[Fragment] = []
    for text in texts:
        written = _FORBIDDEN.sub("", text[:MAX_CHARACTERS])
        if written.strip():
            found.append(_read(item, written, unit, zone or UTC) or {UNREAD: written})
    return tuple(found)


def _read(item: Item, text: str, unit: str, zone: tzinfo) -> Fragment | None:
    if item.choices.options or item.type in {ItemType.CHOICE, ItemType.OPEN_CHOICE}:
        option = _option(item, text)
        if option is not None:
            return option
        if item.type is ItemType.OPEN_CHOICE:
            return {"valueString": text.strip()}
        if item.type is ItemType.CHOICE or item.choices.options:
            return _searched(item, text)
    if item.type is ItemType.QUANTITY:
        return _quantity(item, text.strip(), unit)
    if item.type is ItemType.DATE_TIME:
        return _date_time(text.strip(), zone)
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


def _date_time(text: str, zone: tzinfo) -> Fragment | None:
    """A browser's ``2026-11-25T14:30`` gets the zone; whole dates stay dates."""
    if _is_date(text):
        return {"valueDateTime": text}
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return {"valueDateTime": moment.isoformat(timespec="seconds")}


def moment_entry(text: str, zone: tzinfo | None) -> str:
    """A dateTime as a browser's field holds it: in the zone, without seconds; a date stays a date."""
    if "T" not in text:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment.astimezone(zone or UTC).strftime("%Y-%m-%dT%H:%M")


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


def _quantity(item: Item, text: str, unit: str) -> Fragment | None:
    """A number with the unit that was chosen, or with the only one there is."""
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
        quantity["unit"] = unit
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
