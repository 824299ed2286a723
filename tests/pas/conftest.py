"""Payers for tests of PAS, each on a store of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.sql.migrate import migrate
from tests.support.pas_service import Pas, Starts, serving


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of this version, to copy."""
    path = tmp_path_factory.mktemp("pas") / "store.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Path:
    """A database of one test's own."""
    return Path(shutil.copy(migrated, tmp_path / "store.sqlite3"))


@pytest.fixture
def start(database: Path) -> Iterator[Starts]:
    """Starts a payer on this test's database."""
    with ExitStack() as stack:

        def started(**settings: Any) -> Pas:
            return stack.enter_context(serving(database, **settings))

        yield started


@pytest.fixture(scope="session")
def usual(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pas]:
    """One payer as it ships, for all tests that do not change it: its routes take a while to compile."""
    path = Path(shutil.copy(migrated, tmp_path_factory.mktemp("usual") / "store.sqlite3"))
    with serving(path) as served:
        yield served


@pytest.fixture
def pas(usual: Pas) -> Pas:
    """A payer as it ships, that has seen nothing yet."""
    usual.forget()
    return usual
