"""Extensions of one element by their short names. Unknown ones are simply never asked for (AP-12)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

_CORE = "http://hl7.org/fhir/StructureDefinition/"
_SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/"
_PREFIXES = (_SDC, _CORE)


def short_name(url: Any) -> str:
    """``questionnaire-hidden`` of its full address; other publishers' addresses stay whole.

    SDC moved some of its extensions into the core and back, so the prefix ``sdc-`` and the publisher do not count.
    """
    if not isinstance(url, str):
        return ""
    for prefix in _PREFIXES:
        if url.startswith(prefix):
            return url.removeprefix(prefix).removeprefix("sdc-")
    return url


class Marks:
    """The extensions of one element, looked up by short name."""

    __slots__ = ("_by_name",)

    def __init__(self, element: Any, member: str = "extension") -> None:
        """``element``: anything that may have extensions; ``member``: ``extension`` or ``modifierExtension``."""
        self._by_name: dict[str, list[Mapping[str, Any]]] = {}
        found = element.get(member) if isinstance(element, Mapping) else None
        for one in found if isinstance(found, list) else ():
            if isinstance(one, Mapping):
                self._by_name.setdefault(short_name(one.get("url")), []).append(one)

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def names(self) -> Iterator[str]:
        """The short names that are there."""
        return iter(self._by_name)

    def all(self, *names: str) -> tuple[Mapping[str, Any], ...]:
        """Every extension with one of these names, in order of the names."""
        return tuple(one for name in names for one in self._by_name.get(name, ()))

    def parts(self, name: str) -> tuple[Marks, ...]:
        """The extensions inside each complex extension of this name."""
        return tuple(Marks(one) for one in self.all(name))

    def value(self, *names: str) -> Any:
        """The value of the first of them, whatever its type; None without one."""
        for one in self.all(*names):
            for member, value in one.items():
                if member.startswith("value"):
                    return value
        return None

    def values(self, *names: str) -> tuple[Any, ...]:
        """All their values."""
        return tuple(value for one in self.all(*names) for member, value in one.items() if member.startswith("value"))

    def fragment(self, *names: str) -> Mapping[str, Any] | None:
        """The first value with its type in the name, ``{"valueDecimal": 3}``."""
        for one in self.all(*names):
            for member, value in one.items():
                if member.startswith("value"):
                    return {member: value}
        return None

    def text(self, *names: str) -> str:
        """The first value if it is a text, else empty."""
        value = self.value(*names)
        return value if isinstance(value, str) else ""

    def texts(self, *names: str) -> tuple[str, ...]:
        """All values that are texts."""
        return tuple(value for value in self.values(*names) if isinstance(value, str))

    def flag(self, *names: str) -> bool:
        """Whether the first value is ``true``."""
        return self.value(*names) is True

    def whole(self, *names: str) -> int | None:
        """The first value if it is a whole number that is not negative."""
        value = self.value(*names)
        return value if type(value) is int and value >= 0 else None

    def number(self, *names: str) -> Decimal | None:
        """The first value if it is a number."""
        value = self.value(*names)
        return Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None

    def codes(self, *names: str) -> tuple[str, ...]:
        """Codes of all values: a code, a Coding, or the codings of a CodeableConcept."""
        return tuple(code for value in self.values(*names) for code in _codes(value))


def _codes(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for coding in value.get("coding", [value]):
            code = coding.get("code") if isinstance(coding, Mapping) else None
            if isinstance(code, str):
                yield code
