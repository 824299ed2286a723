"""JSON log lines of closed fields on standard error. No field can hold PHI, a token, a path or a query (row 119).

Of other libraries' records only the constant text is kept, never its arguments; of exceptions the class and the places.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from cds_service.serving import described, event_of

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
            line["error"], line["frames"] = described(record.exc_info[1])
        return msgspec.json.encode(line).decode()


def capture_logging(level: str) -> None:
    """Send all records of the logging module through ``JsonLines``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
