"""JSON log lines of closed fields on standard error. No field can hold PHI, a token, a path or a query (row 119).

Of other libraries' records only the constant text is kept, never its arguments; of exceptions the class and the places.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from datetime import UTC, datetime

import msgspec

EXTRAS = ("request_id", "ehr", "payer", "reason", "route", "method", "status", "ms", "kind", "count", "directive")


class JsonLines(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line end."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": event_of(record),
            "logger": record.name,
            "pid": record.process,
        }
        line |= {name: getattr(record, name) for name in EXTRAS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["frames"] = [
                f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"  # noqa: PTH119 - a text, not a file
                for frame in traceback.extract_tb(error.__traceback__)[-8:]
            ]
        return msgspec.json.encode(line).decode()


def event_of(record: logging.LogRecord) -> str:
    """The constant text. gunicorn's notices of starting and stopping hold addresses and process ids only."""
    if record.name.startswith("gunicorn") and record.levelno == logging.INFO:
        return record.getMessage()
    return str(record.msg)


def capture_logging(level: str) -> None:
    """Send all records of the logging module through ``JsonLines``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
