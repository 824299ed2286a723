"""Key and reader files: made safely, refused when others could read them (reliability 121)."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from cds_service.adapters.secret_files import load_or_make_key, load_readers
from cds_service.errors import ConfigurationError


def test_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "patient.key"
    key = load_or_make_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make_key(path) == key
    assert [each.name for each in path.parent.iterdir()] == ["patient.key"]


def test_workers_that_start_together_get_the_same_key(tmp_path: Path) -> None:
    for number in range(20):
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda name: load_or_make_key(tmp_path / name), [f"{number}.key"] * 8))
        assert len(keys) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_bad_input_121_key_that_others_can_read_stops_the_start(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "patient.key"
    load_or_make_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="0600"):
        load_or_make_key(path)


def test_key_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "patient.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="32"):
        load_or_make_key(path)


def test_key_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        load_or_make_key(tmp_path / "file" / "patient.key")


def test_readers_by_digest_of_their_token(tmp_path: Path) -> None:
    digest = sha256(b"token").hexdigest()
    path = tmp_path / "readers"
    path.write_text(f"# who may read\n\nauditor {digest}\n", "utf-8")
    assert load_readers(path) == {digest: "auditor"}
    assert load_readers(None) == {}


@pytest.mark.parametrize("line", ["auditor", "auditor plain-token", "two words " + "a" * 64, "x " + "A" * 64])
def test_wrong_reader_line_is_named_but_not_repeated(tmp_path: Path, line: str) -> None:
    path = tmp_path / "readers"
    path.write_text(f"ok {'0' * 64}\n{line}\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"readers:2:") as refused:
        load_readers(path)
    assert line not in refused.value.diagnostics
