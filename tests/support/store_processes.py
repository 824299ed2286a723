"""What the store's tests run in processes of their own. Each writes lines to its standard output and ends."""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.store import SqlStore
from cds_service.errors import StoreUnavailable
from tests.support.stores import a_call


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def race(url: str) -> None:
    """For every line on standard input record a call with that jti; say ``kept`` or ``earlier``, and the answer."""
    store = SqlStore(url, busy_seconds=10)
    store.ping()
    say("ready")
    for jti in sys.stdin:
        call = a_call(jti=jti)
        earlier = store.record(call)
        say(f"{'kept' if earlier is None else 'earlier'} {(earlier or call).response.decode()}")


def write_for_ever(url: str) -> None:
    """Record call after call, and say each id once the store says that it is kept."""
    store = SqlStore(url)
    while True:
        call = a_call(response=b"r" * 7000, determinations=((f"d-{time.monotonic_ns()}-{os.getpid()}", b"d" * 5000),))
        if store.record(call) is None:
            say(f"{call.jti} {call.determinations[0][0]}")


def hold_lock(path: str) -> None:
    """Hold SQLite's write lock until a line comes in."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("locked")
    sys.stdin.readline()
    connection.execute("ROLLBACK")
    say("released")


def run_out_of_room(url: str, path: str) -> None:
    """Let no file grow beyond its size of now, record until it fails, give room again, record again."""
    store = SqlStore(url)
    first = a_call()
    store.record(first)
    size = max(Path(name).stat().st_size for name in (path, path + "-wal"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, resource.RLIM_INFINITY))
    kept = []
    try:
        for _ in range(1000):
            call = a_call(response=b"r" * 7000)
            store.record(call)
            kept.append(call)
    except StoreUnavailable as error:
        say(f"refused {error.reason}")
    again = store.recall(first.client, first.jti, first.hook_instance, first.request_digest)
    say(f"readable {len(again)}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kept.append(a_call())
    store.record(kept[-1])
    found = sum(bool(store.recall(call.client, call.jti, "", "")) for call in kept)
    say(f"kept {len(kept)} found {found}")


def write_where_only_reading_is_allowed(url: str) -> None:
    """As somebody without write permission: read, then try to write."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    store = SqlStore(url)
    try:
        store.record(a_call())
    except StoreUnavailable as error:
        say(f"refused {error.reason}")


def migrate_at_once(url: str) -> None:
    """Wait for a line on standard input, then migrate and use the store."""
    say("ready")
    sys.stdin.readline()
    say(migrate(url))
    store = SqlStore(url, busy_seconds=10)
    store.ping()
    say(str(store.record(a_call())))


_JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job
    for job in (
        race,
        write_for_ever,
        hold_lock,
        run_out_of_room,
        write_where_only_reading_is_allowed,
        migrate_at_once,
    )
}

if __name__ == "__main__":
    _JOBS[sys.argv[1]](*sys.argv[2:])
