"""The licensee's own code tables: none is shipped, any may be missing, none may be half-read."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.adapters.licensed_codes import LISTS, LicensedCodes, load_licensed_codes
from cds_service.errors import ConfigurationError


def test_nothing_is_shipped_and_everything_passes() -> None:
    codes = load_licensed_codes(None)
    assert codes.missing().keys() == LISTS.keys()
    assert codes.knows("x12-886", "anything")
    assert codes.text("cpt", "62362") == ""


def test_a_table_is_read_and_then_holds(tmp_path: Path) -> None:
    (tmp_path / "x12-886.csv").write_text('code,text\n0A,"made up, for this test"\n0B,another\n', "utf-8")
    codes = load_licensed_codes(tmp_path)
    assert codes.text("x12-886", "0A") == "made up, for this test"
    assert (codes.knows("x12-886", "0B"), codes.knows("x12-886", "0C"), codes.knows("cpt", "1")) == (True, False, True)
    assert "x12-886" not in codes.missing()


BROKEN = [
    ("x12-000.csv", "code,text\n", "no list of this name"),
    ("cpt.csv", "number,words\n1,x\n", "the header must be"),
    ("cpt.csv", "code,text\n1,x\n1,y\n", "cpt.csv:3"),  # twice
    ("cpt.csv", "code,text\n1,x,y\n", "cpt.csv:2"),
    ("cpt.csv", "code,text\n,x\n", "cpt.csv:2"),
    ("cpt.csv", 'code,text\n1,"x\n', "not CSV"),
    ("cpt.csv", "", "the header must be"),
]


@pytest.mark.parametrize(("name", "content", "told"), BROKEN)
def test_what_is_wrong_is_told_with_its_place(name: str, content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(ConfigurationError, match=told):
        load_licensed_codes(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no directory"):
        load_licensed_codes(tmp_path / "none")
    assert LicensedCodes().lists == {}
