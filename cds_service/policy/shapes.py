"""Shapes of configuration values: each reads a node strictly and can describe itself as JSON Schema.

One description serves both, so that the schema an editor uses and the loader that decides cannot drift.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from fractions import Fraction
from typing import Any, Final, Protocol

import msgspec

from cds_service.policy.source import At, Complaint, Entry, Node, Word, several

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_SHOWN: Final = 60  # characters of a wrong value that a message repeats


class Reading:
    """Collects complaints while shapes read."""

    def __init__(self, complaints: list[Complaint]) -> None:
        """Append to ``complaints``."""
        self.complaints = complaints

    def wrong(self, node: Node, where: str, allowed: str, found: str | None = None) -> None:
        """Note that the value of ``node`` is not ``allowed``."""
        self.complaints.append(Complaint(node.file, node.line, where, found or shown(node), allowed))


def shown(node: Node) -> str:
    """What stands there, short."""
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return repr(node.value[:_SHOWN])
    return "a mapping" if isinstance(node.value, dict) else "a list"


class Shape(Protocol):
    """One kind of value."""

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The value, or None with a complaint."""
        ...

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        ...


class Text(msgspec.Struct, frozen=True):
    """Any text that is not empty; with ``pattern``, of that form."""

    pattern: str = ""
    allowed: str = "text"
    empty: bool = False

    def read(self, node: Node, where: str, reading: Reading) -> Word | None:
        """See Shape."""
        value = node.value
        if not isinstance(value, str) or not (value.strip() or self.empty):
            reading.wrong(node, where, self.allowed)
            return None
        if self.pattern and not re.fullmatch(self.pattern, value):
            reading.wrong(node, where, self.allowed)
            return None
        return Word(value, At(node.file, node.line))

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        # A plain scalar such as 7052 or 2016-02-15 is text to the loader; editors see a number or a string.
        rule: dict[str, Any] = {"type": ["string", "number", "boolean"]}
        if self.pattern:
            rule = {"type": ["string", "number"], "pattern": f"^(?:{self.pattern})$"}
        return rule


class Choice(msgspec.Struct, frozen=True):
    """One of a closed list of words."""

    words: tuple[str, ...]

    def read(self, node: Node, where: str, reading: Reading) -> Word | None:
        """See Shape."""
        if not isinstance(node.value, str) or node.value not in self.words:
            reading.wrong(node, where, several(self.words))
            return None
        return Word(node.value, At(node.file, node.line))

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        return {"enum": list(self.words)}


class Flag(msgspec.Struct, frozen=True):
    """true or false, and nothing else that YAML takes for them."""

    def read(self, node: Node, where: str, reading: Reading) -> bool | None:
        """See Shape."""
        if node.value not in {"true", "false"}:
            reading.wrong(node, where, "true, false")
            return None
        return node.value == "true"

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        return {"type": "boolean"}


class Number(msgspec.Struct, frozen=True):
    """An exact decimal number; ``whole`` for counts."""

    least: Fraction | None = None
    whole: bool = False
    allowed: str = "a decimal number"

    def read(self, node: Node, where: str, reading: Reading) -> Fraction | None:
        """See Shape."""
        if not isinstance(node.value, str) or not _NUMBER.match(node.value):
            reading.wrong(node, where, self.allowed)
            return None
        value = Fraction(node.value)
        if (self.whole and value.denominator != 1) or (self.least is not None and value < self.least):
            reading.wrong(node, where, self.allowed)
            return None
        return value

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        rule: dict[str, Any] = {"type": "integer" if self.whole else "number"}
        if self.least is not None:
            rule["minimum"] = int(self.least)
        return rule


class Day(msgspec.Struct, frozen=True):
    """A calendar day."""

    def read(self, node: Node, where: str, reading: Reading) -> date | None:
        """See Shape."""
        if isinstance(node.value, str) and _DAY.match(node.value):
            try:
                return date.fromisoformat(node.value)
            except ValueError:
                pass
        reading.wrong(node, where, "a day as YYYY-MM-DD")
        return None

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        return {"type": "string", "format": "date"}


class Many(msgspec.Struct, frozen=True):
    """A list; with ``least``, of at least so many."""

    of: Any
    least: int = 0

    def read(self, node: Node, where: str, reading: Reading) -> tuple[Any, ...] | None:
        """See Shape."""
        if not isinstance(node.value, tuple):
            reading.wrong(node, where, "a list")
            return None
        if len(node.value) < self.least:
            reading.wrong(node, where, f"a list of at least {self.least}", f"a list of {len(node.value)}")
            return None
        return tuple(self.of.read(item, f"{where}[{n}]", reading) for n, item in enumerate(node.value))

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        return {"type": "array", "items": self.of.schema(), "minItems": self.least}


class Keyed(msgspec.Struct, frozen=True):
    """A mapping from keys of one shape to values of one shape."""

    key: Any
    of: Any

    def read(self, node: Node, where: str, reading: Reading) -> dict[Any, Any] | None:
        """See Shape."""
        if not isinstance(node.value, dict):
            reading.wrong(node, where, "a mapping")
            return None
        result = {}
        for name, item in node.value.items():
            path = f"{where}.{name}" if where else name
            key = self.key.read(Node(name, item.file, item.line), path, reading)
            value = self.of.read(item, path, reading)
            if key is not None:
                result[key] = value
        return result

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        rule: dict[str, Any] = {"type": "object", "additionalProperties": self.of.schema()}
        if isinstance(self.key, Choice):
            rule["propertyNames"] = self.key.schema()
        return rule


class Record(msgspec.Struct, frozen=True):
    """A mapping with named keys. A missing optional key takes the default stated beside its shape."""

    required: Mapping[str, Any]
    optional: Mapping[str, tuple[Any, Any]] = {}

    def read(self, node: Node, where: str, reading: Reading) -> Entry | None:
        """See Shape."""
        if not isinstance(node.value, dict):
            reading.wrong(node, where, f"a mapping with {several(self.required)}")
            return None
        entry = Entry({name: default for name, (_, default) in self.optional.items()})
        entry.at, entry.where = At(node.file, node.line), where
        for name, item in node.value.items():
            path = f"{where}.{name}" if where else name
            shape = self.required.get(name) or (self.optional[name][0] if name in self.optional else None)
            if shape is None:
                reading.wrong(item, path, several((*self.required, *self.optional)), f"the key {name!r}")
            else:
                entry[name] = shape.read(item, path, reading)
        for name in self.required:
            if name not in node.value:
                reading.wrong(node, where, f"the key {name}", f"no {name}")
        return entry

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        properties = {name: shape.schema() for name, shape in self.required.items()}
        properties |= {name: shape.schema() for name, (shape, _) in self.optional.items()}
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(self.required),
            "properties": properties,
        }


class Tagged(msgspec.Struct, frozen=True):
    """A mapping with exactly one key, which says the kind; the value has the shape of that kind."""

    kinds: Callable[[], Mapping[str, Any]]
    what: str

    def read(self, node: Node, where: str, reading: Reading) -> tuple[str, Any, At] | None:
        """See Shape."""
        kinds = self.kinds()
        if not isinstance(node.value, dict) or len(node.value) != 1:
            reading.wrong(node, where, f"one {self.what}: {several(sorted(kinds))}")
            return None
        ((kind, item),) = node.value.items()
        if kind not in kinds:
            reading.wrong(item, where, f"{self.what} of a kind among {several(sorted(kinds))}", f"the kind {kind!r}")
            return None
        return kind, kinds[kind].read(item, f"{where}.{kind}", reading), At(item.file, item.line)

    def schema(self) -> dict[str, Any]:
        """See Shape; a reference where kinds nest."""
        return {"$ref": f"#/$defs/{self.what.replace(' ', '_')}"}

    def definition(self) -> dict[str, Any]:
        """What the reference of ``schema`` points to."""
        return {
            "oneOf": [
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": [kind],
                    "properties": {kind: shape.schema()},
                }
                for kind, shape in sorted(self.kinds().items())
            ]
        }


class Maybe(msgspec.Struct, frozen=True):
    """A value, or null where there is none."""

    of: Any

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """See Shape."""
        return None if node.value is None else self.of.read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        return {"anyOf": [self.of.schema(), {"type": "null"}]}
