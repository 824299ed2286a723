"""What a form says of an answer's coding: its weight, and the value sets that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from smart_app.sdc.shapes import Form
from smart_app.sdc.texts import option_key, value_of


def weight_of(form: Form, value: Any) -> Decimal | None:
    """The weight of an answer, a Coding or a code: given with it, or of the option that it is (SD-16)."""
    fragment = {"valueCoding": value} if isinstance(value, Mapping) else {"valueString": value}
    if isinstance(value, Mapping):
        typed = {name: part for name, part in value.items() if name.startswith("value")}
        fragment = typed or fragment
    given = _given(value_of(fragment))
    if given is not None:
        return given
    key = option_key(fragment)
    for item in form.by_link.values():
        for option in item.choices.options:
            if option.key == key and option.weight is not None:
                return option.weight
    return None


def _given(value: Any) -> Decimal | None:
    for one in value.get("extension") or () if isinstance(value, Mapping) else ():
        if str(one.get("url", "")).endswith(("ordinalValue", "itemWeight")):
            number = one.get("valueDecimal", one.get("valueInteger"))
            return None if number is None else Decimal(number)
    return None


def is_member(form: Form, value: Any, canonical: str) -> bool | None:
    """Whether a Coding, CodeableConcept or code is in a value set of the package; None where that is not known."""
    members = form.value_sets.get(canonical) or form.value_sets.get(canonical.partition("|")[0])
    if members is None:
        return None
    codings = value.get("coding", [value]) if isinstance(value, Mapping) else [{"code": value}]
    codes = {code for _, code in members}
    return any(
        (one.get("system", ""), one.get("code")) in members if one.get("system") else one.get("code") in codes
        for one in codings
    )
