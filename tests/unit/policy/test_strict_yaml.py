"""YAML without its surprises: every scalar stays what its author wrote."""

from __future__ import annotations

import pytest

from cds_service.adapters.strict_yaml import read
from tests.support.policy_cases import simple


@pytest.mark.parametrize("text", ["no", "yes", "on", "010", "12:30", "1_000", "0.1", "1e3", "2016-02-15", "0x1A", ".5"])
def test_a_plain_scalar_stays_text(text: str) -> None:
    node = read(f"value: {text}\n", "f.yaml", [])
    assert node is not None
    assert simple(node) == {"value": text}


@pytest.mark.parametrize("text", ["null", "~", ""])
def test_nothing_is_nothing(text: str) -> None:
    node = read(f"value: {text}\n", "f.yaml", [])
    assert node is not None
    assert simple(node) == {"value": None}


@pytest.mark.parametrize(
    ("text", "found", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key a a second time (first in line 1)", 3),
        ("a: &x [1]\nb: *x\n", "an alias", 1),
        ("a: !!python/object:os.system x\n", "the tag", 1),
        ("<<: {a: 1}\n", "a merge key <<", 1),
        ("[1, 2]: 3\n", "a key that is not text", 1),
        ("a: [1\n", "expected ',' or ']'", 2),
        ("a: 1\nb:\n\tc: 2\n", "f.yaml:3: found character that cannot start any token", 3),
        ("", "an empty file", 1),
        ("a: 1\n---\nb: 2\n", "but found another document", 2),
        ("[" * 60 + "]" * 60, "deeper nesting", 1),
    ],
)
def test_what_is_refused(text: str, found: str, line: int) -> None:
    complaints: list[object] = []
    read(text, "f.yaml", complaints)  # type: ignore[arg-type]
    assert any(found in str(each) and str(each).startswith(f"f.yaml:{line}:") for each in complaints), complaints
