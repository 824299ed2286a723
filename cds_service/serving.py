"""What the serving processes of service and app have in common: a free port, gunicorn's words as log lines."""

from __future__ import annotations

import errno
import logging
import os
import socket
import traceback
from typing import Any

from gunicorn.glogging import Logger

from cds_service.errors import ConfigurationError


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's messages through the logging module; its access log, which would hold queries, is never written."""

    def setup(self, cfg: Any) -> None:
        """Take its own handlers away."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers[:] = []
        self.error_log.propagate = True
        self._access_log_enabled = False


def event_of(record: logging.LogRecord) -> str:
    """The constant text of a log record: its arguments may hold what a caller sent.

    gunicorn's own life cycle (listening, booting, signals) is at INFO and holds addresses and process ids only.
    """
    if record.name.startswith("gunicorn") and record.levelno == logging.INFO:
        return record.getMessage()
    return str(record.msg)


def described(error: BaseException | None) -> tuple[str, tuple[str, ...]]:
    """Class of the error and where it came from: file name, line and function of the innermost frames."""
    if error is None:
        return "", ()
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = tuple(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)  # noqa: PTH119 - a text, not a file
    return type(error).__name__, places


def bracketed(host: str) -> str:
    """An IPv6 address as URLs and gunicorn want it."""
    return f"[{host}]" if ":" in host else host


def refuse_taken_port(host: str, port: int, prefix: str) -> None:
    """Raise ConfigurationError with a way out when something listens there already; ``prefix`` is of our variables."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = f"port {port} on {host} is taken; choose another with --port N or {prefix}PORT=N"
                raise ConfigurationError(text, expression=f"{prefix}PORT") from None
            raise ConfigurationError(f"cannot listen on {host} port {port}", expression=f"{prefix}HOST") from None
