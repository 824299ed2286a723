"""Authorizations that come in as a file: each line is taken or refused for itself, and a second run changes nothing."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from cds_service.domain.authorization import Authorization
from cds_service.domain.vocabulary import Vocabulary
from cds_service.errors import ConfigurationError, MalformedRequest
from cds_service.fhir.json import parse
from cds_service.fhir.pas.authorization_feed import Unreadable, read_authorizations
from cds_service.ports import Store
from cds_service.use_cases.authorization_lines import COLUMNS, REQUIRED, Refused, RefusedEntry, read_entry

FORMS = ("csv", "ndjson")

_AT_ONCE = 500  # entries per transaction
_LONGEST_LINE = 262_144  # bytes


class Refusal(msgspec.Struct, frozen=True):
    """Why one line was not taken."""

    line: int  # from 1, the header included
    column: str  # "" for the line as a whole
    allowed: str


class ImportReport(msgspec.Struct, frozen=True):
    """What became of the lines of one file."""

    added: int
    changed: int
    unchanged: int
    refused: tuple[Refusal, ...]
    outdated: int = 0  # older than what the same source said of them before

    @property
    def counts(self) -> str:
        """In one line; ``outdated`` only where there are any."""
        late = f", outdated {self.outdated}" if self.outdated else ""
        taken = f"added {self.added}, changed {self.changed}, unchanged {self.unchanged}"
        return f"{taken}{late}, refused {self.refused_lines}"

    @property
    def refused_lines(self) -> int:
        """How many lines were not taken; each may have several mistakes."""
        return len({refusal.line for refusal in self.refused})


def import_authorizations(
    store: Store,
    lines: Iterable[bytes],
    *,
    form: str,
    drugs: Collection[str],
    source: str,
    at: datetime,
    vocabulary: Vocabulary | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Read authorizations and keep them, one per source and number; what is wrong is reported, the rest is kept.

    Args:
        store: where they are kept, in transactions of 500.
        lines: the file in UTF-8, line by line; one entry per line, columns as in ``authorization_lines``.
        form: ``csv`` or ``ndjson``.
        drugs: drug names that the guidelines know.
        source: where the file comes from, for entries that do not say.
        at: the time of change.
        vocabulary: what codes mean; needed where lines of NDJSON are FHIR ClaimResponses.
        progress: told how many lines have been read, after every transaction.

    Raises:
        ConfigurationError: the form is unknown, or the CSV header does not name the columns that it must.
        StoreUnavailable: what was written before stays; run it again.
    """
    if form not in FORMS:
        raise ConfigurationError("the form of the file must be one of " + ", ".join(FORMS), expression="form")
    taken = _Taken(store, at, progress)
    first_line: dict[tuple[str, str], int] = {}
    for number, raw, values in _csv_entries(lines) if form == "csv" else _json_entries(lines):
        try:
            found = _read(values, vocabulary, drugs, source)
            _refuse_twins(found, number, first_line)
        except RefusedEntry as refused:
            taken.refused += [Refusal(number, each.column, each.allowed) for each in refused.complaints]
        else:
            for entry in found:
                taken.take(number, entry, raw)
    return taken.report()


def _refuse_twins(found: Iterable[Authorization], number: int, first_line: dict[tuple[str, str], int]) -> None:
    for entry in found:
        first = first_line.setdefault((entry.source, entry.number), number)
        if first != number:
            raise RefusedEntry([Refused("number", f"once per file and source; it stands in line {first} already")])


def _read(
    values: Mapping[str, object] | Refused, vocabulary: Vocabulary | None, drugs: Collection[str], source: str
) -> tuple[Authorization, ...]:
    """What one line says: our columns, or a ClaimResponse."""
    if isinstance(values, Refused):
        raise RefusedEntry([values])
    if "resourceType" not in values or vocabulary is None:
        return (read_entry(values, drugs=drugs, source=source),)
    try:
        return read_authorizations(values, vocabulary, source)
    except Unreadable as unreadable:
        raise RefusedEntry([Refused(each.where, each.allowed) for each in unreadable.mistakes]) from None


class _Taken:
    """Hands entries to the store in transactions and counts what came of them."""

    def __init__(self, store: Store, at: datetime, progress: Callable[[int], None]) -> None:
        self._store = store
        self._at = at
        self._progress = progress
        self._waiting: list[tuple[Authorization, str]] = []
        self._counts = {"added": 0, "changed": 0, "unchanged": 0, "outdated": 0}
        self._read = 0
        self.refused: list[Refusal] = []

    def take(self, number: int, authorization: Authorization, raw: str) -> None:
        self._waiting.append((authorization, raw))
        self._read = number
        if len(self._waiting) == _AT_ONCE:
            self._keep()

    def _keep(self) -> None:
        for outcome in self._store.put_authorizations(tuple(self._waiting), self._at):
            self._counts[outcome] += 1
        self._waiting.clear()
        self._progress(self._read)

    def report(self) -> ImportReport:
        if self._waiting:
            self._keep()
        return ImportReport(refused=tuple(self.refused), **self._counts)


_Entry = tuple[int, str, dict[str, object] | Refused]  # line number, its text, its values or what is wrong with it


def _texts(lines: Iterable[bytes]) -> Iterator[tuple[int, str | Refused]]:
    for number, line in enumerate(lines, 1):
        content = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).rstrip(b"\r\n")
        if len(content) > _LONGEST_LINE:
            yield number, Refused("", f"at most {_LONGEST_LINE} bytes")
        elif content.strip():
            try:
                yield number, content.decode("utf-8")
            except UnicodeDecodeError:
                yield number, Refused("", "text in UTF-8")


def _csv_entries(lines: Iterable[bytes]) -> Iterator[_Entry]:
    texts = _texts(lines)
    header = _header(next(texts, (1, ""))[1])
    for number, text in texts:
        if isinstance(text, Refused):
            yield number, "", text
            continue
        cells = _cells(text)
        if len(cells) == len(header):
            yield number, text, dict(zip(header, cells, strict=True))
        else:
            yield number, text, Refused("", f"{len(header)} cells separated by commas, quotes closed in the same line")


def _cells(text: str) -> list[str]:
    """The cells of one line; none if its quotes are wrong."""
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return []


def _header(text: str | Refused) -> Sequence[str]:
    names = [cell.strip() for cell in _cells(text)] if isinstance(text, str) else []
    missing = [name for name in REQUIRED if name not in names]
    if missing or len(set(names)) != len(names) or not set(names) <= set(COLUMNS):
        raise ConfigurationError(
            f"line 1: the header must name each of {', '.join(REQUIRED)}, may name {', '.join(COLUMNS)}, each once",
            expression="header",
        )
    return names


def _json_entries(lines: Iterable[bytes]) -> Iterator[_Entry]:
    for number, text in _texts(lines):
        if isinstance(text, Refused):
            yield number, "", text
            continue
        try:
            values = parse(text.encode(), max_bytes=_LONGEST_LINE)
        except MalformedRequest as error:
            yield number, text, Refused("", f"one JSON object ({error.diagnostics})")
            continue
        yield number, text, values if isinstance(values, dict) else Refused("", "one JSON object")
