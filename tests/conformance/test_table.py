"""The public table of requirements is honest: every row is there, and every test that it names exists."""

import ast
import re
from functools import cache

ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
EXEMPT = "Does not apply: "


def rows(project_root):
    text = (project_root / "docs" / "conformance" / "cds-hooks-crd.md").read_text(encoding="utf-8")
    return [(int(number), topic, proof) for number, topic, proof in ROW.findall(text)]


@cache
def names_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_is_there_once_and_in_order(project_root):
    assert [number for number, _, _ in rows(project_root)] == list(range(1, 195))


def test_every_row_names_a_test_or_a_reason(project_root):
    silent = [
        number
        for number, _, proof in rows(project_root)
        if not TEST.findall(proof) and len(proof.removeprefix(EXEMPT)) < 30
    ]
    assert silent == []
    unexplained = [n for n, _, proof in rows(project_root) if not TEST.findall(proof) and not proof.startswith(EXEMPT)]
    assert unexplained == []


def test_every_test_that_is_named_exists(project_root):
    gone = [
        f"{number}: {path}::{name}"
        for number, _, proof in rows(project_root)
        for path, name in TEST.findall(proof)
        if not (project_root / path).is_file() or name not in names_of(project_root / path)
    ]
    assert gone == []


def test_every_test_that_claims_a_row_is_in_the_table(project_root):
    """A test of these folders that carries a row's number in its name is listed for one of its rows."""
    named = {name for _, _, proof in rows(project_root) for _, name in TEST.findall(proof)}
    folders = [project_root / "tests" / "conformance", project_root / "tests" / "unit" / "cds_hooks"]
    claims = {
        name
        for folder in folders
        for path in folder.glob("test_*.py")
        for name in names_of(path)
        if re.match(r"test_crd_\d", name)
    }
    assert sorted(claims - named) == []
