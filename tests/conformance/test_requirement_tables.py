"""The tables of requirements beyond CRD are honest too: each row once, in order, proven by a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TABLES = {
    "smart.md": [f"SM-{number:02}" for number in range(1, 54)],
    "dtr-payer.md": [f"PS-{number:02}" for number in range(1, 40)],
    "dtr-app.md": [f"AP-{number:02}" for number in range(1, 38)],
    "sdc.md": [f"SD-{number:02}" for number in range(1, 18)],
    # The source leaves out 036-039, 076-079 and 089.
    "pas.md": [
        f"P{number:03}"
        for first, last in ((1, 9), (10, 19), (20, 35), (40, 59), (60, 75), (80, 88), (90, 104))
        for number in range(first, last + 1)
    ],
    "delivery.md": [f"D{number:02}" for number in range(1, 14)],
}
ROW = re.compile(r"^\| ((?:SM|PS|AP|SD)-\d\d|P\d{3}|D\d\d) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
EXEMPT = "Does not apply: "


def rows(project_root: Path, table: str) -> list[tuple[str, str, str]]:
    return ROW.findall((project_root / "docs" / "conformance" / table).read_text("utf-8"))


@cache
def names_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("table", TABLES)
def test_every_requirement_is_there_once_and_in_order(project_root: Path, table: str) -> None:
    assert [number for number, _, _ in rows(project_root, table)] == TABLES[table]


@pytest.mark.parametrize("table", TABLES)
def test_every_requirement_names_a_test_or_a_reason(project_root: Path, table: str) -> None:
    silent = [
        number
        for number, _, proof in rows(project_root, table)
        if not TEST.findall(proof) and not (proof.startswith(EXEMPT) and len(proof) > len(EXEMPT) + 30)
    ]
    assert silent == []


@pytest.mark.parametrize("table", TABLES)
def test_every_named_test_exists_and_names_its_requirement(project_root: Path, table: str) -> None:
    gone, nameless = [], []
    for number, _, proof in rows(project_root, table):
        found = TEST.findall(proof)
        gone += [
            f"{number}: {path}::{name}"
            for path, name in found
            if not (project_root / path).is_file() or name not in names_of(project_root / path)
        ]
        if found and not any(number.replace("-", "") in name for _, name in found):
            nameless.append(number)
    assert gone == []
    assert nameless == []
