"""A strict EHR, a foreign payer and the app, joined over real sockets; one set of keys for all tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_app.adapters.keys import AppKeys, make_missing
from tests.support.foreign_payer import ForeignPayer
from tests.support.form_visit import FormVisit, chart_of
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import AppUnderTest, write_yaml


@pytest.fixture(scope="session")
def key_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    make_missing(directory, lambda: secrets.token_urlsafe(32))
    return directory


@pytest.fixture(scope="session")
def app_keys(key_dir: Path) -> AppKeys:
    return AppKeys(key_dir)


@pytest.fixture
def ehr(app_keys: AppKeys) -> Iterator[SmartEhr]:
    with SmartEhr(app_keys.signing.public_set) as server:
        server.resources |= chart_of()
        yield server


@pytest.fixture
def payer(app_keys: AppKeys) -> Iterator[ForeignPayer]:
    with ForeignPayer(app_keys.signing.public_set) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path, app_keys: AppKeys, key_dir: Path, ehr: SmartEhr, payer: ForeignPayer) -> Iterator[AppUnderTest]:
    under_test = AppUnderTest(tmp_path, key_dir, app_keys)
    under_test.register(ehr)
    write_yaml(under_test.settings.config_dir / "payers" / "foreign.yaml", payer.profile())
    yield under_test
    under_test.close()


@pytest.fixture
def visit(app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer) -> FormVisit:
    return FormVisit(app, ehr, payer)
