"""The process that ``web_server`` starts: gunicorn, our worker, and the web twins as the application.

``LINGER_SECONDS`` in its environment takes the place of the worker's own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cds_service.adapters.system import new_id
from cds_service.settings import from_env
from cds_service.use_cases.hook_answer import HookAnswer
from cds_service.web import gunicorn_worker
from cds_service.web.gunicorn_server import log_writer, serve, shared_metrics
from tests.support.web_twins import Web


def answer(body: bytes) -> HookAnswer:
    """The length of the body; ``{"held":"PATH"}`` leaves a file in that directory and waits until there is a ``go``."""
    if body.startswith(b'{"held":'):
        directory = Path(body[9:-2].decode())
        (directory / new_id()).touch()
        while not (directory / "go").exists():
            time.sleep(0.01)
    return HookAnswer(status=200, body=b'{"cards":[],"length":%d}' % len(body))


def load() -> Any:
    """The application of one worker."""
    web = Web(max_body_bytes=from_env().max_body_bytes, queue_seconds=from_env().queue_seconds, writer=log_writer)
    web.use_case.behave = answer
    return web.client.application


if __name__ == "__main__":
    gunicorn_worker.LINGER_SECONDS = float(os.environ.get("LINGER_SECONDS", gunicorn_worker.LINGER_SECONDS))
    with shared_metrics():
        serve(from_env(), load)
