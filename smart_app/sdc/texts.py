"""FHIR values as a person reads them, and as a form field holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from smart_app.sdc.shapes import Fragment


def value_of(fragment: Fragment) -> Any:
    """The bare value of a fragment, None for an empty one."""
    for member, value in fragment.items():
        if member.startswith("value"):
            return value
    return None


def kind_of(fragment: Fragment) -> str:
    """``Coding`` of ``{"valueCoding": ...}``; empty without a value."""
    for member in fragment:
        if member.startswith("value"):
            return member.removeprefix("value")
    return ""


def digits(number: Any) -> str:
    """A number as it was written: 1.20 stays 1.20, without exponent."""
    return format(number, "f") if isinstance(number, Decimal) else str(number)


def shown(fragment: Fragment) -> str:
    """What a person reads."""
    value = value_of(fragment)
    if value is None:
        return str(fragment.get("unread", ""))
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, Mapping):
        return _complex(value)
    moment = _MOMENT.fullmatch(value) if "valueDateTime" in fragment and isinstance(value, str) else None
    if moment is not None:
        return f"{moment[1]}, {moment[2]} (UTC{'' if moment[3] == 'Z' else moment[3]})"
    return digits(value)


# Whole minutes, or seconds that are not 0; the offset behind them.
_MOMENT = re.compile(
    r"([0-9-]{10})T([0-9]{2}:[0-9]{2}(?::(?!00)[0-9]{2})?)(?::00)?(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _complex(value: Mapping[str, Any]) -> str:
    if "value" in value:
        unit = value.get("unit") or value.get("code") or ""
        return f"{value.get('comparator', '')}{digits(value['value'])} {unit}".strip()
    for member in ("display", "title", "text", "code", "reference", "url", "unit"):
        if isinstance(value.get(member), str) and value[member]:
            return str(value[member])
    for coding in value.get("coding") or ():
        return _complex(coding) if isinstance(coding, Mapping) else ""
    return ""


def entry(fragment: Fragment) -> str:
    """What the form field holds: for a Coding its option key, for a quantity its number."""
    value = value_of(fragment)
    if value is None:
        return str(fragment.get("unread", ""))
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, Mapping):
        return digits(value)
    if "value" in value:
        return f"{value.get('comparator', '')}{digits(value['value'])}"
    if kind_of(fragment) == "Reference":
        return str(value.get("reference") or value.get("display") or "")
    return option_key(fragment)


def option_key(fragment: Fragment) -> str:
    """What identifies an option inside its item: ``system|code``, or the value itself."""
    value = value_of(fragment)
    if not isinstance(value, Mapping):
        return entry(fragment)
    if isinstance(value.get("reference"), str) and value["reference"]:
        return str(value["reference"])  # two of the same name are two
    if "code" in value or "system" in value:
        return f"{value.get('system', '')}|{value.get('code', '')}"
    return _complex(value)
