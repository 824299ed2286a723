"""`make bench-pas`: how fast `$submit` answers and deliveries go out, on PostgreSQL, everything on this machine.

Load, service, database, workers and receiver share the same cores; the processor time of each is shown. Requests are
Bundles of ten entries, each with its own identifier and patient, half of them approvable; tokens and the structural
gate are on. Latency counts from the moment at which a request was due, so that a slow answer cannot hide the next one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import sqlalchemy as sa

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.outbox import enqueue
from cds_service.adapters.sql.prior_auth_tables import PA_VERSION
from cds_service.prior_auth_ports import OutboxEntry
from scripts.ending import end_in_order, whole_step
from scripts.kill_clients import Clients
from scripts.kill_test import Rig, until
from tests.support import deliveries, pas_bundles
from tests.support.postgres import PostgresServer, programs

ROOT = Path(__file__).resolve().parents[1]

CONNECTIONS = 8
CASES = 50


class BenchRig(Rig):
    """The same parts as in the kill test, run as they are."""

    def spawn(self, name: str) -> None:
        """Service or worker as an operator starts them."""
        if name == "worker":
            return  # when its turn comes
        self.launch(name, "serve", "--insecure-dev", "--port", str(self.service_port), "--workers", "2")

    def launch(self, name: str, *arguments: str) -> None:
        """One program of ours."""
        with whole_step(), (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [Path(sys.executable).parent / "cds-service", *arguments],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class Cpu:
    """Processor seconds of each part between two moments, ended children not counted."""

    def __init__(self, rig: BenchRig) -> None:
        self._rig = rig
        self._before = self._now()
        self._at = time.monotonic()

    def _now(self) -> dict[str, float]:
        used = {"load": sum(os.times()[:2])}
        trees = {name: process.pid for name, process in self._rig.processes.items()}
        assert self._rig.postgres is not None
        trees["postgres"] = int((self._rig.postgres.directory / "data" / "postmaster.pid").read_text().split()[0])
        for name, pid in trees.items():
            processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            used[name] = sum(sum(process.cpu_times()[:2]) for process in processes)
        return used

    def told(self) -> str:
        """As percentages of one core."""
        span, now = time.monotonic() - self._at, self._now()
        parts = [f"{name} {100 * (now[name] - self._before.get(name, 0.0)) / span:.0f} %" for name in sorted(now)]
        return "CPU of one core: " + ", ".join(parts)


class Load:
    """Sends prepared requests over kept connections."""

    def __init__(self, rig: BenchRig, bodies: list[bytes], token: Callable[[], str]) -> None:
        self._rig = rig
        self._bodies = iter(bodies)
        self._token = token
        self._guard = threading.Lock()
        self.latencies: list[float] = []
        self.bad = 0
        self.last = b""

    def run(self, seconds: float, rate: float | None) -> float:
        """``rate`` None: each connection sends as soon as it can. Gives the answers per second."""
        self._began, self._seconds, self._rate = time.monotonic(), seconds, rate
        self._sent = 0
        threads = [threading.Thread(target=self._connection, daemon=True) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self.latencies) / (time.monotonic() - self._began)

    def _next(self) -> tuple[float, bytes] | None:
        """When the next request is due, and what it is."""
        with self._guard:
            now = time.monotonic()
            due = now if self._rate is None else self._began + self._sent / self._rate
            if due - self._began >= self._seconds:
                return None
            self._sent += 1
            return due, next(self._bodies)

    def _connection(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._rig.service_port, timeout=30)
        while (work := self._next()) is not None:
            due, body = work
            time.sleep(max(due - time.monotonic(), 0))
            headers = {"Content-Type": "application/fhir+json", "Authorization": f"Bearer {self._token()}"}
            connection.request("POST", "/pas/2.2/Claim/$submit", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            with self._guard:
                self.latencies.append(time.monotonic() - due)
                self.bad += answer.status != 200
                self.last = content
        connection.close()

    def told(self) -> str:
        """Percentiles in milliseconds."""
        ordered = sorted(self.latencies)
        p50, p99 = (1000 * ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
        return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {1000 * ordered[-1]:.0f} ms, not 200: {self.bad}"


def bodies(first: int, count: int) -> list[bytes]:
    """Requests of their own people, every second one approvable."""
    today = datetime.now(UTC).date().isoformat()
    open_question = {**pas_bundles.COMPLETE, "noninvasive_trial_outcome": None}
    return [
        pas_bundles.encoded(
            pas_bundles.request(number=number, authored=today, values=open_question if number % 2 else None)
        )
        for number in range(first, first + count)
    ]


def fill(database: Database, template: bytes, versions: int) -> None:
    """Cases with so many versions each, to be delivered; the responses are real ones with ids of their own."""
    at = datetime.now(UTC) - timedelta(minutes=1)
    document = json.loads(template)
    for case in range(CASES):
        ident = f"bench-{case}"
        deliveries.put_case(database, ident, [1], at=at, destinations=())

        def work(session: sa.Connection, ident: str = ident) -> None:
            for n in range(1, versions + 1):
                resource = document["entry"][0]["resource"]
                resource["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{ident}.{n}"))
                resource["identifier"][0]["value"] = f"{ident}.{n}"
                row = {"response": json.dumps(document).encode()}
                if n == 1:
                    session.execute(sa.update(PA_VERSION).where(PA_VERSION.c.case_id == ident).values(row))
                else:
                    session.execute(sa.insert(PA_VERSION), deliveries.version_row(ident, n, at) | row)
            enqueue(
                session,
                ident,
                [OutboxEntry("payer", "payer", n, n, f"{ident}.{n}") for n in range(1, versions + 1)],
                at,
            )

        database.session(work)


def measure(rig: BenchRig, seconds: int) -> None:
    """Three figures, each with what it cost."""
    rig.start()
    client = Clients(rig)
    paced = bodies(1, 60 * seconds)
    flat_out = bodies(1_000_000, 300 * seconds)
    Load(rig, bodies(2_000_000, 1000), client.bearer).run(3, None)  # everything loaded, every connection open
    load, cpu = Load(rig, paced, client.bearer), Cpu(rig)
    rate = load.run(seconds, 50)
    print(f"$submit at 50/s for {seconds} s: {rate:.1f}/s, {load.told()}\n  {cpu.told()}", flush=True)
    load, cpu = Load(rig, flat_out, client.bearer), Cpu(rig)
    rate = load.run(seconds, None)
    print(
        f"$submit, {CONNECTIONS} connections, for {seconds} s: {rate:.1f}/s, {load.told()}\n  {cpu.told()}", flush=True
    )
    deliver(rig, load.last)


def deliver(rig: BenchRig, template: bytes) -> None:
    """Fifty cases, four workers; what `$submit` left waiting is discarded first."""
    database = Database(rig.database_url, pool_size=2, busy_seconds=60)
    database.session(lambda session: session.execute(sa.text("UPDATE outbox SET state = 'discarded'")))
    versions = 100
    fill(database, template, versions)
    size = len(template)
    rig.launch("worker", "deliver", "--workers", "4", "--insecure-dev")
    before = rig.received()["count"]
    until(lambda: len(rig.received()["effects"]) > CASES, 60, "nothing was delivered")
    cpu, began = Cpu(rig), time.monotonic()
    first = len(rig.received()["effects"])
    samples = []
    while (now := len(rig.received()["effects"])) < CASES * versions:
        samples.append(now)
        time.sleep(0.5)
        if time.monotonic() - began > 300:
            break
    rate = (len(rig.received()["effects"]) - first) / (time.monotonic() - began)
    steps = [2 * (later - earlier) for earlier, later in pairwise(samples)]
    middle = statistics.median(steps) if steps else rate
    print(
        f"deliveries of {size} bytes over {CASES} cases, 4 workers: {rate:.0f}/s (median {middle:.0f}/s)\n"
        f"  {cpu.told()}"
    )
    told = rig.received()
    print(
        f"  {told['count'] - before} calls for {CASES * versions} messages; "
        f"each once: {set(told['effects'].values()) == {1}}"
    )
    database.close()


def main() -> int:
    """Parse, prepare, measure, clean up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    end_in_order()
    found = programs()
    if found is None:
        print("PostgreSQL is not installed: make test installs it", file=sys.stderr)
        return 2
    print(f"{os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}", flush=True)
    with whole_step():
        postgres = PostgresServer(found)
    with tempfile.TemporaryDirectory(prefix="bench-pas-") as name:
        url = postgres.create()
        migrate(url)
        rig = BenchRig(Path(name), url, postgres, random.Random(1))
        try:
            measure(rig, chosen.seconds)
        finally:
            rig.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
