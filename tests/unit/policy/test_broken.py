"""One deliberately broken file per mistake: the message says file, line, what was found and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cds_service.adapters.policy_files import check, load_configuration
from cds_service.errors import ConfigurationError
from tests.support.policy_cases import CONFIG, read, simple

HERE = Path(__file__).parent / "broken"
MISTAKES = sorted(path.stem for path in HERE.glob("*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the shipped configuration that may be broken."""
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_told(name: str, config: Path) -> None:
    node = read((HERE / f"{name}.yaml").read_text("utf-8"), name, [])
    assert node is not None
    mistake = simple(node)
    path = config / mistake["file"]
    text = path.read_text("utf-8")
    assert text.count(mistake["replace"]) == 1, "the mistake no longer finds its place"
    path.write_text(text.replace(mistake["replace"], mistake["by"]), "utf-8")
    complaints = check(config)
    told = [each for each in complaints if all(word in str(each) for word in mistake["words"])]
    assert told, "\n".join(str(each) for each in complaints)
    assert str(told[0]).startswith(f"{told[0].file}:{told[0].line}: ")
    if mistake["line_after"] is not None:
        line = text[: text.index(mistake["replace"])].count("\n") + 1 + int(mistake["line_after"])
        assert (told[0].file, told[0].line) == (str(path), line)


def test_the_shipped_configuration_has_no_complaint(config: Path) -> None:
    assert check(config) == []


def test_all_complaints_are_told_at_once(config: Path) -> None:
    for name, old, new in (
        ("policies/09-J1000-31/dosing.yaml", "daily: 15\n", "daily: a lot\n"),
        ("payer.yaml", "renewal: reviewer ", "renewal: never "),
    ):
        path = config / name
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(ConfigurationError, match=r"(?s)dosing\.yaml:\d+.*a lot.*|payer\.yaml:\d+.*never") as refused:
        load_configuration(config)
    assert "'a lot'" in refused.value.diagnostics
    assert "'never'" in refused.value.diagnostics


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("policies/09-J1000-31/facts.yaml", "no such file"),
        ("terminology/routes.yaml", "no such file"),
        ("payer.yaml", "no such file"),
    ],
)
def test_a_missing_file_is_told(config: Path, path: str, found: str) -> None:
    (config / path).unlink()
    assert any(each.file.endswith(path) and found in each.found for each in check(config))


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        ("policies/09-J1000-31/extra.yaml", b"a: 1\n", "a file that nothing reads"),
        ("terminology/value_sets/more.yaml", b"", "an empty file"),
        ("payer.yaml", b"names: [\xff]\n", "not UTF-8"),
        ("payer.yaml", b"names: [a]\n---\nnames: [b]\n", "document"),
        ("payer.yaml", b"- 1\n", "a list"),
    ],
)
def test_a_file_of_another_kind_is_told(config: Path, path: str, content: bytes, found: str) -> None:
    (config / path).write_bytes(content)
    complaints = check(config)
    assert any(each.file.endswith(path) and found in str(each) for each in complaints), complaints


def test_the_digest_covers_every_file_that_decides(config: Path) -> None:
    before = load_configuration(config)
    for name in ("policies/09-J1000-31/facts.yaml", "terminology/routes.yaml", "payer.yaml"):
        path = config / name
        kept = path.read_bytes()
        path.write_bytes(kept + b"# a remark\n")
        after = load_configuration(config)
        assert after.guidelines[0].digest != before.guidelines[0].digest
        assert after.digest != before.digest
        path.write_bytes(kept)
    assert load_configuration(config).guidelines[0].digest == before.guidelines[0].digest
