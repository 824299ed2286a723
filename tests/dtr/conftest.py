"""The payer side of documentation: one service per module, calls as a registered app makes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cds_service.adapters.sql.migrate import migrate
from tests.support.dtr_calls import Dtr
from tests.support.e2e_service import running


@pytest.fixture(scope="module")
def dtr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dtr]:
    """A running service with its DTR bases."""
    path = tmp_path_factory.mktemp("dtr") / "cds.sqlite3"
    migrate(f"sqlite:///{path}")
    with running(path, settings={"smart_app_url": "https://app.example.org"}) as service:
        yield Dtr(service)
