"""Which value sets hold a code: one look-up per code, prepared at load."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cds_service.domain.record import Code
from cds_service.domain.vocabulary import ICD10CM, ValueSet, canonical


class CodeIndex(msgspec.Struct, frozen=True):
    """Value set names by system and code; families of codes by their prefix."""

    exact: Mapping[str, Mapping[str, tuple[str, ...]]]
    prefixes: Mapping[str, tuple[tuple[int, Mapping[str, tuple[str, ...]]], ...]]  # by length

    def sets_of(self, codes: tuple[Code, ...]) -> tuple[str, ...]:
        """Names of all value sets that hold one of ``codes``; usually empty."""
        found: tuple[str, ...] = ()
        for code in codes:
            system = code.system
            by_code = self.exact.get(system)
            if by_code is None:
                continue
            text = code.code
            if system == ICD10CM:
                text = text.upper().replace(".", "")
            names = by_code.get(text)
            if names is not None:
                found += names
            for length, families in self.prefixes.get(system, ()):
                names = families.get(text[:length])
                if names is not None:
                    found += names
        return found


def index(value_sets: Mapping[str, ValueSet]) -> CodeIndex:
    """Turn value sets inside out."""
    exact: dict[str, dict[str, tuple[str, ...]]] = {}
    prefixes: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, value_set in value_sets.items():
        for code in value_set.codes:
            plain = canonical(code)
            by_code = exact.setdefault(plain.system, {})
            by_code[plain.code] = (*by_code.get(plain.code, ()), name)
        for prefix in value_set.prefixes:
            exact.setdefault(prefix.system, {})
            families = prefixes.setdefault(prefix.system, {})
            families[prefix.code] = (*families.get(prefix.code, ()), name)
    return CodeIndex(exact, {system: _by_length(families) for system, families in prefixes.items()})


def _by_length(families: Mapping[str, tuple[str, ...]]) -> tuple[tuple[int, Mapping[str, tuple[str, ...]]], ...]:
    lengths = sorted({len(prefix) for prefix in families})
    return tuple(
        (length, {prefix: names for prefix, names in families.items() if len(prefix) == length}) for length in lengths
    )
