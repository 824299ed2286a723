"""Results of expressions as answers of an item (SD-17). What does not fit is refused, never bent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from smart_app.sdc.amounts import as_decimal, converted_value, measure_of
from smart_app.sdc.fhirpath_library import Node, QuantityValue, TimePoint
from smart_app.sdc.shapes import Fragment, Item, ItemType
from smart_app.sdc.texts import digits, option_key

UCUM = "http://unitsofmeasure.org"
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_DATE_TIME = re.compile(rf"[0-9]{{4}}(-[0-9]{{2}}(-[0-9]{{2}}(T{_CLOCK}(Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?)?)?")
_TIME = re.compile(_CLOCK)


class Unfit(ValueError):
    """A result that is no answer of this item; the text is free of data."""


def plain(node: Any) -> Any:
    """A result as JSON: no node of the library is left."""
    data = node.data if isinstance(node, Node) else node
    if isinstance(data, QuantityValue):
        unit = str(data.unit).strip("'")
        return {"value": data.value, "unit": unit, "system": UCUM, "code": unit}
    if isinstance(data, TimePoint):
        return str(data)
    return Decimal(str(data)) if isinstance(data, float) else data


def fragment(item: Item, node: Any) -> Fragment:
    """One result as an answer of ``item``. Raises Unfit."""
    value = plain(node)
    made = _MAKERS[item.type](item, value)
    if made is None:
        raise Unfit(f"the result is no {item.type.value}")
    return made


def _boolean(_: Item, value: Any) -> Fragment | None:
    return {"valueBoolean": value} if isinstance(value, bool) else None


def _number(value: Any) -> Decimal | int | None:
    return value if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def _decimal(item: Item, value: Any) -> Fragment | None:
    if isinstance(value, Mapping):
        return _decimal_of_quantity(item, value)
    number = _number(value)
    return None if number is None else {"valueDecimal": number}


def _decimal_of_quantity(item: Item, quantity: Mapping[str, Any]) -> Fragment | None:
    """Only with a unit on the item: a number whose unit nobody sees is a trap."""
    unit, amount = item.units.unit, measure_of(quantity)
    if unit is None or amount is None:
        return None
    if unit.get("code") in {quantity.get("code"), quantity.get("unit")}:
        return {"valueDecimal": quantity["value"]}
    converted = converted_value(amount, str(unit.get("code", "")))
    return None if converted is None else {"valueDecimal": as_decimal(converted)}


def _integer(_: Item, value: Any) -> Fragment | None:
    number = _number(value)
    return {"valueInteger": int(number)} if number is not None and number == int(number) else None


def _quantity(item: Item, value: Any) -> Fragment | None:
    units = item.units
    allowed = [units.unit] if units.unit else list(units.options)
    if not isinstance(value, Mapping):
        number = _number(value)
        if number is None or len(allowed) > 1:
            return None  # which of several units is meant, a bare number does not say
        return {"valueQuantity": _with_unit(number, allowed[0]) if allowed else {"value": number}}
    if "value" not in value:
        return None
    kept = {name: value[name] for name in ("value", "comparator", "unit", "system", "code") if name in value}
    if not allowed or units.open or any(_same_unit(one, value) for one in allowed):
        return {"valueQuantity": kept}
    amount = measure_of(value)
    for one in allowed:
        converted = converted_value(amount, str(one.get("code", ""))) if amount else None
        if converted is not None:
            return {"valueQuantity": _with_unit(as_decimal(converted), one)}
    return None


def _same_unit(unit: Fragment, quantity: Mapping[str, Any]) -> bool:
    return bool(unit.get("code")) and unit.get("code") in {quantity.get("code"), quantity.get("unit")}


def _with_unit(number: Decimal | int, unit: Fragment) -> dict[str, Any]:
    made = {"value": number, "unit": unit.get("display") or unit.get("code")}
    return {**made, **{name: unit[name] for name in ("system", "code") if name in unit}}


def _string(_: Item, value: Any) -> Fragment | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, Mapping):
        text = _words(value)
        return {"valueString": text} if text else None
    return {"valueString": digits(value)}


def _words(value: Mapping[str, Any]) -> str:
    """What a complex value is called."""
    if isinstance(value.get("text"), str):
        return str(value["text"])
    if "family" in value or "given" in value:
        return " ".join(str(part) for part in (*(value.get("given") or ()), value.get("family", "")) if part)
    for coding in value.get("coding") or ():
        if coding.get("display") or coding.get("code"):
            return str(coding.get("display") or coding["code"])
    return str(value.get("display") or value.get("code") or "") if "value" not in value else ""


def _moment(pattern: re.Pattern[str], member: str, length: int | None = None) -> Callable[[Item, Any], Fragment | None]:
    def make(_: Item, value: Any) -> Fragment | None:
        if not isinstance(value, str):
            return None
        text = value[:length]
        return {member: text} if pattern.fullmatch(text) else None

    return make


def _url(_: Item, value: Any) -> Fragment | None:
    return {"valueUri": value} if isinstance(value, str) and value else None


def _attachment(_: Item, value: Any) -> Fragment | None:
    fits = isinstance(value, Mapping) and bool(value.keys() & {"contentType", "data", "url"})
    return {"valueAttachment": value} if fits else None


def _reference(item: Item, value: Any) -> Fragment | None:
    if not isinstance(value, Mapping):
        return None
    kind = value.get("resourceType")
    if isinstance(kind, str) and isinstance(value.get("id"), str):
        types = item.choices.reference_types
        made = {"reference": f"{kind}/{value['id']}", "display": title(value)}
        return {"valueReference": made} if not types or kind in types else None
    return {"valueReference": value} if value.keys() & {"reference", "identifier", "display"} else None


def title(resource: Mapping[str, Any]) -> str:
    """What a resource is called in one line."""
    for member in ("name", "code", "medicationCodeableConcept", "type", "vaccineCode", "description", "title"):
        value = resource.get(member)
        value = value[0] if isinstance(value, list) and value else value
        text = _words(value) if isinstance(value, Mapping) else value
        if isinstance(text, str) and text:
            return text
    return str(resource.get("resourceType", ""))


def _choice(item: Item, value: Any) -> Fragment | None:
    found = _offered(item, value)
    if found is not None or item.choices.options:
        return found
    coding = _codings(value)
    return {"valueCoding": coding[0]} if coding else None


def _open_choice(item: Item, value: Any) -> Fragment | None:
    coded = _choice(item, value) or ({"valueCoding": _codings(value)[0]} if _codings(value) else None)
    return coded or _string(item, value)


def _offered(item: Item, value: Any) -> Fragment | None:
    """The option that a value means: by its key, or a text or code that only one option has."""
    options = item.choices.options
    codings = _codings(value)
    wanted = {option_key({"valueCoding": one}) for one in codings} if codings else {option_key({"value": value})}
    for one in options:
        if one.key in wanted:
            return one.value
    if isinstance(value, str):
        fits = [one for one in options if value in {one.display, one.key.rpartition("|")[2]}]
        return fits[0].value if len(fits) == 1 else None
    return None


def _codings(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, Mapping):
        return []
    codings = value.get("coding", [value]) if "coding" in value or "code" in value else []
    members = ("system", "version", "code", "display", "userSelected")
    return [{name: one[name] for name in members if name in one} for one in codings if one.get("code")]


_MAKERS: Mapping[ItemType, Callable[[Item, Any], Fragment | None]] = {
    ItemType.BOOLEAN: _boolean,
    ItemType.DECIMAL: _decimal,
    ItemType.INTEGER: _integer,
    ItemType.QUANTITY: _quantity,
    ItemType.STRING: _string,
    ItemType.TEXT: _string,
    ItemType.DATE: _moment(_DATE, "valueDate", 10),
    ItemType.DATE_TIME: _moment(_DATE_TIME, "valueDateTime"),
    ItemType.TIME: _moment(_TIME, "valueTime"),
    ItemType.URL: _url,
    ItemType.ATTACHMENT: _attachment,
    ItemType.REFERENCE: _reference,
    ItemType.CHOICE: _choice,
    ItemType.OPEN_CHOICE: _open_choice,
    ItemType.GROUP: lambda _item, _value: None,
    ItemType.DISPLAY: lambda _item, _value: None,
}
