"""Services and databases for calls through the whole stack."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.sql.migrate import migrate
from tests.support.e2e_service import Service, running


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of this version, to copy."""
    path = tmp_path_factory.mktemp("e2e") / "store.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Path:
    """A database of one test's own."""
    return Path(shutil.copy(migrated, tmp_path / "store.sqlite3"))


@pytest.fixture
def start(database: Path) -> Iterator[Callable[..., Service]]:
    """Starts a process of the service on this test's database."""
    with ExitStack() as stack:

        def started(**settings: Any) -> Service:
            return stack.enter_context(running(database, **settings))

        yield started


@pytest.fixture
def service(start: Callable[..., Service]) -> Service:
    """One process as it ships, whose EHR must not be asked."""
    return start()
