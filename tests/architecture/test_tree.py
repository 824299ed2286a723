"""House rules that no import graph sees, checked on the tracked files."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.settings import VARIABLES, Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cds_service", "smart_app", "sandbox_ehr")
LONGEST_MODULE = 400
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc|base|stuff|models)(_|$)")
ALLOWED_NAMES = {"cds_service/fhir/models.py"}  # the one door to the FHIR library's models
# Addresses of package registries, and absolute paths of the machines that the files were written on.
FOREIGN = re.compile(
    "|".join(
        (
            "registry" + r"\.npmjs",
            "pypi" + r"\.org",
            "python" + "hosted",
            r"repo1?\." + "maven",
            "deb" + r"\.debian\.org",
            r"(?<![A-Za-z0-9_.])/(?:work" + "|farm)/",
        )
    )
)


def tracked(*patterns: str) -> list[Path]:
    """Tracked files that exist; without git (an unpacked archive), all files that git would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = [name for name in listed.stdout.split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no modules under {folders}: the test would pass on nothing"
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules("cds_service/domain", "cds_service/policy"), ids=relative)
def test_numbers_of_the_core_are_exact(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    floats = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
    ]
    assert floats == [], f"{relative(path)}: float at lines {floats}; amounts are Fraction"


def test_modules_stay_one_room() -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in modules(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_names_say_what_is_inside() -> None:
    names = {relative(path): path.stem for path in modules("cds_service", "sandbox_ehr", "tests", "scripts")}
    assert [name for name, stem in names.items() if BANNED_NAMES.search(stem) and name not in ALLOWED_NAMES] == []


def test_only_settings_and_entry_points_read_the_environment() -> None:
    readers = [
        relative(path)
        for path in modules("cds_service")
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text("utf-8"))
    ]
    assert set(readers) <= {
        "cds_service/settings.py",
        "cds_service/cli.py",  # hands options on to the worker processes
        "cds_service/app.py",  # PROMETHEUS_MULTIPROC_DIR, which prometheus_client reads too
        "cds_service/web/gunicorn_server.py",  # sets that variable
    }


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(CDS_[A-Z0-9_]+)` \|", text, re.MULTILINE))
    assert documented == set(VARIABLES)
    assert {field for field, _ in VARIABLES.values()} == set(Settings.__struct_fields__)


def test_documented_defaults_are_the_defaults() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    written = dict(re.findall(r"^\| `(CDS_[A-Z0-9_]+)` \| `([^`]+)` \|", text, re.MULTILINE))
    shown = {"True": "on", "False": "off"}
    checked = 0
    for name, default in written.items():
        value = getattr(Settings(), VARIABLES[name][0])
        if name in {"CDS_PUBLIC_URL", "CDS_CONFIG_DIR", "CDS_CLIENTS_DIR"}:  # follow another setting or the project
            continue
        assert default == shown.get(str(value), str(value)), name
        checked += 1
    assert checked > 10


def test_no_registry_addresses_and_no_machine_paths_are_tracked() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{relative(path)}:{number}" for number, line in enumerate(text.splitlines(), 1) if FOREIGN.search(line)
        ]
    assert found == []


def test_locks_are_hashed_and_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        pins = re.findall(r"^[a-z0-9][\w.\-\[\]]*==", text, re.MULTILINE)
        assert len(pins) > 20
        assert len(re.findall(r"^[a-z0-9].*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins)
        assert "://" not in text
        assert "--index" not in text


def skips(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.endswith(("pytest.skip", "mark.skip", "mark.skipif", "mark.xfail", "importorskip")):
                given = [ast.unparse(each) for each in node.args if name.endswith("pytest.skip")]
                given += [ast.unparse(each.value) for each in node.keywords if each.arg in {"reason", "msg"}]
                if not any(len(text) > 10 for text in given):
                    yield node.lineno, name
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            bare = [
                each for each in node.decorator_list if ast.unparse(each) in {"pytest.mark.skip", "pytest.mark.xfail"}
            ]
            yield from ((each.lineno, ast.unparse(each)) for each in bare)


def test_no_test_is_left_out_without_a_reason() -> None:
    assert [(relative(path), *found) for path in modules("tests") for found in skips(path)] == []


def test_the_check_on_left_out_tests_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "test_x.py"
    path.write_text("@pytest.mark.skip\ndef a(): ...\n@pytest.mark.xfail()\ndef b(): pytest.skip()\n", "utf-8")
    assert len(list(skips(path))) == 3


def test_no_promise_is_left_in_the_code() -> None:
    promise = re.compile(
        r"\b(" + "TO" + "DO|FIX" + "ME|XX" + r"X)\b|raise NotImplemented" + "Error|pragma: no " + "cover"
    )
    found = [
        f"{relative(path)}:{number}"
        for path in modules("cds_service", "sandbox_ehr", "scripts", "tests")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if promise.search(line)
    ]
    assert found == []
