"""A chart with a signed order and a finished form, a foreign PAS server, and the app between them over real sockets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_app.adapters.keys import AppKeys, make_missing
from tests.support.foreign_pas import ForeignPas
from tests.support.form_visit import chart_of
from tests.support.pas_visit import FORM, PasVisit
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import AppUnderTest, write_yaml


@pytest.fixture(scope="session")
def pas_keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AppKeys]:
    directory = tmp_path_factory.mktemp("keys")
    make_missing(directory, lambda: secrets.token_urlsafe(32))
    return directory, AppKeys(directory)


@pytest.fixture
def ehr(pas_keys: tuple[Path, AppKeys]) -> Iterator[SmartEhr]:
    with SmartEhr(pas_keys[1].signing.public_set) as server:
        server.resources |= {**chart_of(), f"QuestionnaireResponse/{FORM['id']}": FORM}
        yield server


@pytest.fixture
def payer(request: pytest.FixtureRequest, pas_keys: tuple[Path, AppKeys]) -> Iterator[ForeignPas]:
    """Of version 2.2.1, or of the one that a test names as its parameter."""
    with ForeignPas(pas_keys[1].signing.public_set, version=getattr(request, "param", "2.2.1")) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path, pas_keys: tuple[Path, AppKeys], ehr: SmartEhr, payer: ForeignPas) -> Iterator[AppUnderTest]:
    under_test = AppUnderTest(tmp_path, *pas_keys)
    under_test.register(ehr, organization_name="Clinic", organization_npi="1999999984")
    profile = payer.profile(pas_base=payer.base, call_seconds=1)
    write_yaml(under_test.settings.config_dir / "payers" / "foreign.yaml", profile)
    yield under_test
    under_test.close()


@pytest.fixture
def visit(app: AppUnderTest, ehr: SmartEhr, payer: ForeignPas) -> PasVisit:
    visit = PasVisit(app, ehr, payer)
    visit.launch()
    return visit
