"""The licensee's own code tables (X12, HCPCS, CPT): read where there are some, and told which ones are missing.

None is shipped: X12's lists and CPT are licensed. One CSV file per list, in UTF-8, with the header ``code,text``. A
code that no table holds passes through as it is: only its system is looked at.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cds_service.errors import ConfigurationError

_CODE: Final = re.compile(r"[A-Za-z0-9.\-]{1,16}")
_LARGEST: Final = 20_000_000

# file name -> what its absence leaves out
LISTS: Final[Mapping[str, str]] = {
    "x12-306": "review actions beside A1, A3, A4, A6 and C have no text; C is not checked against the list",
    "x12-886": "decision reasons are sent as text without a code",
    "x12-889": "follow-up actions beside C are not known",
    "x12-901": "reject reasons beside 04 and T4 are sent as text without a code",
    "x12-1322": "certification types beside I, 1 and 3 are taken as they are",
    "x12-1338": "levels of service beside U and E are taken as they are",
    "x12-1365": "service types are shown by their code",
    "x12-1525": "request types are shown by their code",
    "hcpcs": "codes beside the few public ones of the guideline are shown without a text",
    "cpt": "CPT codes are shown by their number",
}


class LicensedCodes(msgspec.Struct, frozen=True):
    """Code -> text, by list."""

    lists: Mapping[str, Mapping[str, str]] = {}

    def text(self, name: str, code: str) -> str:
        """What a code means; "" where its list, or it, is not there."""
        return self.lists.get(name, {}).get(code, "")

    def knows(self, name: str, code: str) -> bool:
        """Whether a list holds a code; without the list every code may stand."""
        return name not in self.lists or code in self.lists[name]

    def missing(self) -> Mapping[str, str]:
        """Lists that are not there, with what that leaves out."""
        return {name: without for name, without in LISTS.items() if name not in self.lists}


def load_licensed_codes(directory: Path | None) -> LicensedCodes:
    """The tables in a directory; none where there is no directory.

    Raises:
        ConfigurationError: a file is no list that we know, or a line of it is not a code and a text.
    """
    if directory is None:
        return LicensedCodes()
    if not directory.is_dir():
        raise ConfigurationError(f"CDS_LICENSED_CODES_DIR: {directory} is no directory")
    found: dict[str, Mapping[str, str]] = {}
    for path in sorted(directory.glob("*.csv")):
        if path.stem not in LISTS:
            raise ConfigurationError(f"{path}: no list of this name is used; allowed: {', '.join(LISTS)}")
        found[path.stem] = _read(path)
    return LicensedCodes(found)


def _read(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    if len(content) > _LARGEST:
        raise ConfigurationError(f"{path}: larger than {_LARGEST} bytes")
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ConfigurationError(f"{path}: not CSV in UTF-8") from None
    if not rows or [cell.strip().lower() for cell in rows[0]] != ["code", "text"]:
        raise ConfigurationError(f"{path}:1: the header must be code,text")
    codes: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2 or not _CODE.fullmatch(row[0].strip()) or row[0].strip() in codes:
            raise ConfigurationError(f"{path}:{number}: a code, each once, and its text")
        codes[row[0].strip()] = row[1].strip()
    return codes
