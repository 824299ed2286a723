"""One sandbox as a Flask app, on a fixed day, with ids that count."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from sandbox_ehr.app import Settings, create_app

BASE = "http://ehr.test"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_id() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"id-{next(numbers)}"


@pytest.fixture
def app(tmp_path: Path, clock: Clock, new_id: Callable[[], str]) -> Flask:
    # Port 9 of this machine: nobody listens there, so the CDS service is never reached.
    settings = Settings(tmp_path, BASE, "http://127.0.0.1:9", "http://127.0.0.1:9")
    return create_app(settings, clock, new_id)


@pytest.fixture
def token(app: Flask) -> Callable[..., str]:
    def issue(patient: str = "trial-ready", scopes: str = "patient/*.rs") -> str:
        return app.extensions["tokens"].issue("cds-service", patient, scopes)

    return issue
