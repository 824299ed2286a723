"""The process that ``web_server`` starts: gunicorn, our worker, and the web twins as the application."""

from __future__ import annotations

import time
from typing import Any

from cds_service.settings import from_env
from cds_service.use_cases.hook_answer import HookAnswer
from cds_service.web.gunicorn_server import log_writer, serve, shared_metrics
from tests.support.web_twins import Web


def answer(body: bytes) -> HookAnswer:
    """The length of the body; ``{"sleep":SECONDS}`` takes that long."""
    if body.startswith(b'{"sleep":'):
        time.sleep(float(body[9:-1]))
    return HookAnswer(status=200, body=b'{"cards":[],"length":%d}' % len(body))


def load() -> Any:
    """The application of one worker."""
    web = Web(max_body_bytes=from_env().max_body_bytes, queue_seconds=from_env().queue_seconds, writer=log_writer)
    web.use_case.behave = answer
    return web.client.application


if __name__ == "__main__":
    with shared_metrics():
        serve(from_env(), load)
