"""`make kill-test`: the whole way from `$submit` to the payer's server, killed hundreds of times.

Real processes: the service, delivery workers, a receiving FHIR server, and PostgreSQL if wanted. Clients submit
requests and updates, and repeat each one until it is acknowledged, as a careful client does. Meanwhile processes are
ended by SIGKILL: at a random moment, or at a named step (before the commit, after it, between sending and writing
down ...). In the end everything that was acknowledged must be with the receiver, once, and in order.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from joserfc.jwk import ECKey

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.migrate import migrate
from scripts.ending import end_in_order, whole_step
from scripts.kill_clients import CLIENT, Clients, judge
from tests.support import dying
from tests.support.postgres import PostgresServer, programs

ROOT = Path(__file__).resolve().parents[1]

CLINIC = "http://hl7.org/fhir/sid/us-npi|1000000004"
LEASE_SECONDS = 4


@dataclass
class Rig:
    """Everything that runs, and where."""

    directory: Path
    database_url: str
    postgres: PostgresServer | None
    rng: random.Random
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    receiver_port: int = 0
    service_port: int = 0

    def start(self) -> None:
        """All of it, ready to be called."""
        self.steps = self.directory / "step"
        self.key = ECKey.generate_key("P-384", {"kid": "k1"})
        self.service_port = free_port()
        self._start_receiver()
        self._write_files()
        self.spawn("service")
        self.spawn("worker")
        until(lambda: self.answers("/readyz"), 60, "the service did not start")

    def _start_receiver(self) -> None:
        with whole_step():
            receiver = self.processes["receiver"] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.payer_receiver", "0"], cwd=ROOT, stdout=subprocess.PIPE
            )
        assert receiver.stdout is not None
        self.receiver_port = int(receiver.stdout.readline().split()[1])

    def _write_files(self) -> None:
        public = {**self.key.as_dict(private=False), "alg": "ES384", "use": "sig"}
        client = {
            "id": CLIENT,
            "name": "Kill test",
            "jwks": {"keys": [public]},
            "scopes": ["system/Claim.cu"],
            "organizations": [CLINIC],
        }
        endpoint = {
            "id": "payer",
            "name": "Payer",
            "base_url": f"http://127.0.0.1:{self.receiver_port}/fhir",
            "allow_http": "true",
            "seconds": 2,
            "mode": self.rng.choice(["put", "conditional_create", "conditional_update", "transaction"]),
        }
        print(f"delivery by {endpoint['mode']}", flush=True)
        for folder, content in (("clients", client), ("endpoints", endpoint)):
            (self.directory / folder).mkdir()
            (self.directory / folder / "one.yaml").write_text(json.dumps(content))  # JSON is YAML

    @property
    def environment(self) -> dict[str, str]:
        """Of service and workers."""
        return {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "CDS_PUBLIC_URL": f"http://127.0.0.1:{self.service_port}",
            "CDS_DATABASE_URL": self.database_url,
            "CDS_BACKEND_CLIENTS_DIR": str(self.directory / "clients"),
            "CDS_PAYER_ENDPOINTS_DIR": str(self.directory / "endpoints"),
            "CDS_TOKEN_KEY_FILE": str(self.directory / "token.key"),
            "CDS_KEY_FILE": str(self.directory / "patient.key"),
            "CDS_WATERMARK_FILE": str(self.directory / "watermark"),
            "CDS_INSECURE_DEV": "on",
            "CDS_LOG_LEVEL": "error",
        }

    def spawn(self, name: str) -> None:
        """Service or worker, with its own group and its own log."""
        arguments = {
            "service": [
                "serve",
                "--insecure-dev",
                "--port",
                str(self.service_port),
                "--workers",
                "2",
                "--threads",
                "4",
            ],
            "worker": ["deliver", "--workers", "2", "--lease-seconds", str(LEASE_SECONDS), "--pause", "0.02"],
        }[name]
        with whole_step(), (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.dying", str(self.steps), *arguments],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def answers(self, path: str) -> bool:
        """Whether the service says 200."""
        try:
            return self.call("GET", path, b"", {})[0] == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """One call of the service; raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service_port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError("no whole answer") from error
        finally:
            connection.close()

    def received(self) -> dict[str, Any]:
        """What the receiver has."""
        connection = http.client.HTTPConnection("127.0.0.1", self.receiver_port, timeout=30)
        connection.request("GET", "/_received")
        told: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return told

    def kill_one(self) -> None:
        """One death of one process, by SIGKILL."""
        roll = self.rng.random()
        if self.postgres is not None and roll < 0.03:
            self.kills["postgres"] += 1
            with whole_step():
                self.postgres.kill()
                time.sleep(self.rng.random() * 0.5)
                self.postgres.start()
        elif roll < 0.08:
            self.kill_group(self.rng.choice(["service", "worker"]))
        elif roll < 0.55:
            self.kill_at_step(self.rng.choice([*dying.SUBMIT, *dying.DELIVER]))
        else:
            self.kill_child(self.rng.choice(["service", "worker"]))
        for name in ("service", "worker"):
            if self.processes[name].poll() is not None:
                self.spawn(name)

    def kill_group(self, name: str) -> None:
        """The whole program, master and children alike; it is started again."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()
        self.kills[f"whole {name}"] += 1

    def kill_child(self, name: str) -> None:
        """One of its processes, wherever it may be at this moment; its master makes another one."""
        try:
            children = [
                child
                for child in psutil.Process(self.processes[name].pid).children()
                if child.status() != psutil.STATUS_ZOMBIE
            ]
            if children:
                self.rng.choice(children).kill()
                self.kills[f"one of {name}"] += 1
        except psutil.NoSuchProcess:
            return

    def kill_at_step(self, step: str) -> None:
        """Whoever comes first to this step."""
        self.steps.write_text(step)
        deadline = time.monotonic() + 2
        while self.steps.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            self.steps.unlink()
        except FileNotFoundError:
            self.kills[step] += 1

    def end(self) -> None:
        """Only what was started here; when it returns, nobody writes to the directory any more."""
        with whole_step():
            for name, process in self.processes.items():
                if process.poll() is None:
                    tree = psutil.Process(process.pid).children(recursive=True)
                    if name == "receiver":
                        process.kill()
                    else:
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    psutil.wait_procs(tree, timeout=30)
            if self.postgres is not None:
                self.postgres.remove()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Any, seconds: float, otherwise: str) -> None:
    """Wait, or give up with a word."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.05)


def drained(rig: Rig) -> bool:
    """Whether nothing waits any more."""
    database = Database(rig.database_url, pool_size=1, busy_seconds=30)
    try:
        with database.engine.connect() as connection:
            query = "SELECT count(*) FROM outbox WHERE state IN ('ready', 'leased')"
            return connection.exec_driver_sql(query).scalar() == 0
    finally:
        database.close()


def run(rig: Rig, kills: int, *, quiet: bool) -> int:
    """The whole test; an exit status."""
    rig.start()
    clients = Clients(rig)
    began = time.monotonic()
    clients.start()
    said = 0
    while (done := sum(rig.kills.values())) < kills:
        time.sleep(rig.rng.random() * 0.25)
        rig.kill_one()
        if not quiet and done >= said + 25:
            said = done
            print(f"{done} kills, {len(clients.acknowledged)} acknowledged", flush=True)
    clients.finish()
    until(lambda: drained(rig), 180, "the outbox did not become empty")
    lost, doubled, wrong = judge(rig, clients)
    print("\n".join(f"  {count:4} x {what}" for what, count in sorted(rig.kills.items())))
    print(f"kills {sum(rig.kills.values())}, client retries {clients.retries}, {time.monotonic() - began:.0f} s")
    print(f"submissions acknowledged {len(clients.acknowledged)}, lost {lost}, doubled {doubled}")
    for each in wrong[:10]:
        print(each)
    return 1 if lost or doubled or wrong or not clients.acknowledged else 0


def main() -> int:
    """Parse, prepare, run, clean up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true")
    chosen = parser.parse_args()
    end_in_order()
    print(f"{chosen.kills} kills on {chosen.database}, seed {chosen.seed}", flush=True)
    postgres = None
    if chosen.database == "postgres":
        found = programs()
        if found is None:
            print("PostgreSQL is not installed: make install-dev", file=sys.stderr)
            return 2
        with whole_step():
            postgres = PostgresServer(found)
    with tempfile.TemporaryDirectory(prefix="kill-test-") as name:
        url = postgres.create() if postgres is not None else f"sqlite:///{name}/cds.sqlite3"
        migrate(url)
        rig = Rig(Path(name), url, postgres, random.Random(chosen.seed))
        try:
            return run(rig, chosen.kills, quiet=chosen.quiet)
        finally:
            rig.end()


if __name__ == "__main__":
    sys.exit(main())
