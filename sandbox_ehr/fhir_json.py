"""JSON as an EHR keeps it: decimals keep their digits on the way in and on the way out."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

Resource = dict[str, Any]

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def loads(text: str | bytes) -> Any:
    """Parse JSON; every number with a decimal point arrives as Decimal. Raises ValueError."""
    return json.loads(text, parse_float=Decimal)


def dumps(value: object) -> str:
    """Render JSON without insignificant whitespace."""
    return _ENCODER.encode(value).decode()


def pretty(value: object) -> str:
    """Render JSON for people."""
    return msgspec.json.format(_ENCODER.encode(value), indent=2).decode()
