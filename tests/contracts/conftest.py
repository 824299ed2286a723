"""The stores that the contract is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cds_service.adapters.memory import MemoryStore
from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.store import SqlStore
from cds_service.ports import Store
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "store.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """Name of an empty, migrated PostgreSQL database to copy."""
    url = postgres_server.create()
    migrate(url)
    return url.split("/")[3].split("?")[0]


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of the test's own."""
    path = tmp_path / "store.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> str:
    """A migrated PostgreSQL database of the test's own."""
    return postgres_server.create(postgres_template)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated database, once of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def open_store() -> Iterator[Callable[..., SqlStore]]:
    """Opens SQL stores and closes them when the test is over."""
    opened: list[SqlStore] = []

    def opener(url: str, **settings: float) -> SqlStore:
        opened.append(SqlStore(url, **settings))  # type: ignore[arg-type]
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, open_store: Callable[..., SqlStore]) -> Store:
    """An empty store, once of each kind."""
    if request.param == "memory":
        return MemoryStore()
    return open_store(str(request.getfixturevalue(f"{request.param}_url")))
