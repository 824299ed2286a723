"""``smart-app serve``: gunicorn with threads, our log lines, and a housekeeper in each process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from gunicorn.app.base import BaseApplication

from cds_service.serving import JsonLogger, bracketed
from smart_app.settings import Settings
from smart_app.web.log_lines import capture_logging
from smart_app.web.parts import Parts

HOUSEKEEPING_SECONDS = 60
DRAIN_SECONDS = 20
LONGEST_LINE, LONGEST_FIELD = 8_190, 16_380  # of a request; a launch value and several cookies fit

log = logging.getLogger(__name__)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One listening socket and its worker processes. The application is built in each worker, after the fork."""

    def __init__(self, settings: Settings, load: Callable[[], Flask]) -> None:
        self._settings = settings
        self._load = load
        super().__init__()

    def load_config(self) -> None:
        """Settings of gunicorn."""
        settings = self._settings
        values = {
            "bind": [f"{bracketed(settings.host)}:{settings.port}"],
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": "gthread",
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: PTH112, S108 - heartbeat files must not touch a disk
            "preload_app": False,
            "graceful_timeout": DRAIN_SECONDS,
            "timeout": 120,
            "keepalive": 15,
            "control_socket_disable": True,
            "limit_request_line": LONGEST_LINE,
            "limit_request_field_size": LONGEST_FIELD,
            "logger_class": JsonLogger,
            "loglevel": settings.log_level,
            "proc_name": "smart-app",
        }
        for name, value in values.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """The WSGI application of one worker."""
        app = self._load()
        threading.Thread(target=keep_house, args=(app,), daemon=True, name="housekeeping").start()
        return app


def keep_house(app: Flask, pause: Callable[[float], object] | None = None) -> None:
    """End launches that nobody uses and forget what is over, again and again; ``pause`` ends it by something true."""
    wait = pause or threading.Event().wait
    made: Parts = app.extensions["smart_app"]
    while not wait(HOUSEKEEPING_SECONDS):
        try:
            made.launches.end_idle()
            now = made.world.now()
            made.store.purge(now, now - timedelta(days=made.settings.keep_days))
        except Exception:
            log.exception("housekeeping failed; it is tried again")


def serve(settings: Settings, load: Callable[[], Flask]) -> None:
    """Run until SIGTERM or SIGINT."""
    capture_logging(settings.log_level)
    if settings.insecure_dev:
        log.warning("INSECURE DEVELOPMENT MODE: plain http, loopback servers and plain cookies are accepted")
    Server(settings, load).run()
