"""The servers that are measured: their configuration, their start and end, what they cost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAYLOAD = PROJECT.parent / "shared" / "bench" / "order_sign_20kb.json"
BIN = Path(sys.executable).parent
PAYER = "Example Health Plan"
PATIENT = "pat-it-001"
ISSUER = "https://ehr.example.org"


@dataclass
class Variant:
    """One server to measure."""

    name: str
    command: list[str]
    environment: dict[str, str]
    bearers: Path | None = None
    floor: bool = False


class WrongAnswer(Exception):
    """An answer was not what it must be: no figure."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_configuration(directory: Path, keys: dict[str, object]) -> Path:
    """The shipped configuration, with the payer and the EHR of the measured request."""
    config = directory / "config"
    shutil.copytree(PROJECT / "config", config)
    payer = config / "payer.yaml"
    payer.write_text(payer.read_text().replace("names: [Florida Blue]", f"names: [Florida Blue, {PAYER}]"))
    client = {
        "id": "bench",
        "name": "EHR of the measured request",
        "issuer": ISSUER,
        "jwks": keys,
        "fhir_servers": ["https://ehr.example.org/fhir"],
    }
    (config / "clients" / "bench.yaml").write_text(json.dumps(client, indent=1))
    return config


def answers(url: str) -> bool:
    """Whether a server is up; the floor knows POST only and says 405."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 405
    except OSError:
        return False


class Server:
    """One running variant, in a session of its own so that it can be ended by its id."""

    def __init__(self, variant: Variant, directory: Path, port: int) -> None:
        """Start it and wait until it answers."""
        for old in directory.glob("bench.sqlite3*"):
            old.unlink()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
        self._log = (directory / "server.log").open("wb")
        begun = time.monotonic()
        self.process = subprocess.Popen(
            variant.command,
            cwd=directory,
            env=environment | variant.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait(port, "/cds-services/order-sign" if variant.floor else "/readyz")
        self.ready_seconds = time.monotonic() - begun

    def _wait(self, port: int, path: str) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            if answers(f"http://127.0.0.1:{port}{path}"):
                return
            time.sleep(0.02)
        raise RuntimeError("the server did not answer within 30 s")

    def cpu_seconds(self) -> float:
        """CPU time so far of every live process of the session."""
        return sum(ticks for ticks, _ in self._processes()) / os.sysconf("SC_CLK_TCK")

    def worker_megabytes(self) -> float:
        """Resident memory of the largest process."""
        return max(pages for _, pages in self._processes()) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _processes(self) -> list[tuple[int, int]]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                found.append((int(fields[11]) + int(fields[12]), int(fields[21])))
        return found

    def stop(self) -> None:
        """End the session's processes by id."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(25)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()
