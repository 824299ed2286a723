"""``cds-service serve``: gunicorn with our worker, our log lines, and a drain on SIGTERM."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.app.base import BaseApplication

from cds_service.serving import JsonLogger, bracketed
from cds_service.settings import GARBAGE_THRESHOLDS, Settings
from cds_service.web.log_lines import LineWriter, capture_logging

MAX_HEADER_FIELD = 16_640  # a long but legal token, with its header name
WORKER_CONNECTIONS = 1_000

log = logging.getLogger(__name__)
log_writer = LineWriter()


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One listening socket and its worker processes. The application is built in each worker, after the fork."""

    def __init__(self, settings: Settings, load: Callable[[], Any]) -> None:
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
            "worker_class": "cds_service.web.gunicorn_worker.WholeRequestWorker",
            "worker_connections": WORKER_CONNECTIONS,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: PTH112, S108 - heartbeat files must not touch a disk
            "preload_app": False,
            "graceful_timeout": settings.drain_seconds,
            "timeout": 60,
            "control_socket_disable": True,  # it would be a second way in, and a file in the home directory
            "keepalive": 15,
            "backlog": 2048,
            "limit_request_field_size": MAX_HEADER_FIELD,
            "logger_class": JsonLogger,
            "loglevel": settings.log_level,
            "proc_name": "cds-service",
            "worker_exit": _worker_exit,
            "child_exit": _child_exit,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI application of one worker."""
        return self._load()


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Let all processes count into files of one folder, removed in the end.

    To be entered before prometheus_client is imported, which looks then whether it shares.
    """
    master = os.getpid()
    directory = tempfile.mkdtemp(prefix="cds-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # noqa: TID251 - how prometheus_client is told
    try:
        yield
    finally:
        if os.getpid() == master:  # a worker that ends comes by here as well
            shutil.rmtree(directory, ignore_errors=True)


def serve(settings: Settings, load: Callable[[], Any]) -> None:
    """Run until SIGTERM or SIGINT. What is imported already is shared by the workers. ``load`` runs in each of them."""
    capture_logging(log_writer, settings.log_level)
    if settings.insecure_dev:
        log.warning("INSECURE DEVELOPMENT MODE: plain http and loopback servers are accepted")
    gc.collect()
    gc.freeze()  # what exists now stays shared between the workers' memory
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        Server(settings, load).run()
    finally:
        log_writer.close()


def _worker_exit(_server: Any, _worker: Any) -> None:
    log_writer.close()


def _child_exit(_server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess  # noqa: PLC0415 - the master needs it only when a worker has gone

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
