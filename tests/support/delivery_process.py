"""``cds-service`` in processes of its own, with a database, an endpoint file and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from cds_service.cli import main

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-c", "from cds_service.cli import main; main()")


class Ended(NamedTuple):
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


class Deployment:
    """One configuration of worker and commands."""

    def __init__(self, directory: Path, database_url: str, **endpoints: str) -> None:
        """``endpoints``: id -> base address of a receiver on loopback."""
        self.directory = directory
        folder = directory / "endpoints"
        folder.mkdir(exist_ok=True)
        for ident, base in endpoints.items():
            lines = [f"id: {ident}", f"name: {ident}", f"base_url: {base}/fhir", "allow_http: true", "seconds: 2"]
            (folder / f"{ident}.yaml").write_text("\n".join(lines) + "\n")
        self.environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CDS_DATABASE_URL": database_url,
            "CDS_PAYER_ENDPOINTS_DIR": str(folder),
            "CDS_BACKEND_CLIENTS_DIR": str(directory / "clients"),
            "CDS_TOKEN_KEY_FILE": str(directory / "token.key"),
            "CDS_KEY_FILE": str(directory / "patient.key"),
            "CDS_WATERMARK_FILE": str(directory / "watermark"),
            "CDS_INSECURE_DEV": "on",
        }

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """A command that runs on, in a process group of its own."""
        return subprocess.Popen(
            [*_COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Ended:
        """A command that ends, in this process: each process of its own costs a second of starting."""
        result = CliRunner(env=self.environment).invoke(main, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    def run_apart(self, *arguments: str) -> Ended:
        """A command that forks, in a process of its own."""
        done = subprocess.run(
            [*_COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def delivering(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The worker, ended as an operator would end it, or killed."""
        process = self.start("deliver", "--pause", "0.02", *arguments)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def ask(port: int, path: str) -> tuple[int, str]:
    """One GET of the worker's health server."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(what: Any, seconds: float = 60) -> None:
    """Wait until ``what()`` holds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def lines_of(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
