"""Speed of the service against the floor of a bare Flask endpoint; prints one table and ends by itself.

Servers run on this machine's loopback with two workers each and are driven by wrk. Every request is a variant of one
order-sign body with its own hookInstance, patient and token; every 100th answer is checked, and where one is wrong no
figure is printed. CPU per request counts the server's processes only, so it stays meaningful on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
BENCH = PROJECT.parent / "shared" / "bench"
PAYLOAD = BENCH / "order_sign_20kb.json"
BIN = Path(sys.executable).parent
PAYER = "Example Health Plan"
PATIENT = "pat-it-001"
ISSUER = "https://ehr.example.org"
TOKENS = 16_000
WORKER_CLASS = "cds_service.web.gunicorn_worker.WholeRequestWorker"  # the product's own, for the floor as well
FIELD = re.compile(r"(\w+)=([\d.]+)")
FLOOR = '''"""Flask and orjson answering with one static card: the floor of a Python service."""
import orjson
from flask import Flask, Response, request

ANSWER = {"cards": [{"summary": "floor", "indicator": "info", "source": {"label": "floor"}}]}
app = Flask("floor")


@app.post("/cds-services/order-sign")
def order_sign():
    body = orjson.loads(request.get_data(cache=False))
    assert body["hook"] == "order-sign"
    return Response(orjson.dumps(ANSWER), mimetype="application/json")
'''


@dataclass
class Variant:
    """One server to measure."""

    name: str
    command: list[str]
    environment: dict[str, str]
    bearers: Path | None = None
    floor: bool = False


@dataclass
class Figures:
    """Medians over the rounds."""

    cpu_ms: float
    rate: float
    p50_ms: float
    p99_ms: float
    alone_p50_ms: float
    worker_mb: float


class WrongAnswer(Exception):
    """An answer was not what it must be: no figure."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_pieces(path: Path) -> None:
    """The body cut at its hookInstance and at every mention of the patient."""
    year = time.strftime("%Y").encode()
    body = PAYLOAD.read_bytes().replace(b'"end":"2026-12-31"', b'"end":"%b-12-31"' % year)  # the Coverage is in force
    instance = json.loads(body)["hookInstance"].encode()
    before, after = body.split(instance)
    pieces = [before, *after.split(PATIENT.encode())]
    path.write_bytes(b"".join(b"%d\n%b\n" % (len(piece), piece) for piece in pieces))


def sign(job: tuple[str, str, dict[str, str], int, int]) -> list[str]:
    """Fresh tokens of one key, each with its own jti."""
    algorithm, audience, key_values, first, count = job
    key = (RSAKey if algorithm == "RS384" else ECKey).import_key(key_values)
    now = int(time.time())
    header = {"alg": algorithm, "kid": f"bench-{algorithm}", "typ": "JWT"}
    return [
        jwt.encode(
            header,
            {"iss": ISSUER, "aud": audience, "iat": now, "exp": now + 900, "jti": f"bench-{algorithm}-{number:06d}"},
            key,
            algorithms=[algorithm],
        )
        for number in range(first, first + count)
    ]


def write_tokens(directory: Path, audience: str) -> tuple[dict[str, Path], dict[str, object]]:
    """Tokens for both algorithms, and the public key set of the client that sends them."""
    keys = {"RS384": RSAKey.generate_key(2048, private=True), "ES384": ECKey.generate_key("P-384", private=True)}
    files = {}
    with ProcessPoolExecutor(2) as pool:
        for algorithm, key in keys.items():
            half = TOKENS // 2
            values = {name: str(value) for name, value in key.as_dict(private=True).items()}
            jobs = [(algorithm, audience, values, first, half) for first in (0, half)]
            files[algorithm] = directory / f"{algorithm}.tokens"
            files[algorithm].write_text("\n".join(token for part in pool.map(sign, jobs) for token in part) + "\n")
    public = [
        key.as_dict(private=False) | {"kid": f"bench-{algorithm}", "alg": algorithm, "use": "sig"}
        for algorithm, key in keys.items()
    ]
    return files, {"keys": public}


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


def variants(directory: Path, port: int, threads: int) -> list[Variant]:
    """The floor and the product in its modes. All run in the same worker class."""
    (directory / "floor.py").write_text(FLOOR)
    tokens, keys = write_tokens(directory, f"http://127.0.0.1:{port}/cds-services/order-sign")
    config = write_configuration(directory, keys)
    scale = ["--workers", "2", "--threads", str(threads)]
    serve = [str(BIN / "cds-service"), "serve", "--port", str(port), *scale, "--insecure-dev"]
    bare = {
        "CDS_CONFIG_DIR": str(config),
        "CDS_CLIENTS_DIR": str(config / "clients"),
        "CDS_KEY_FILE": str(directory / "patient.key"),
        "CDS_DATABASE_URL": "memory:",
        "CDS_LOG_LEVEL": "info",
    }
    stored = bare | {"CDS_DATABASE_URL": f"sqlite:///{directory}/bench.sqlite3"}
    floor = [str(BIN / "gunicorn"), "-k", WORKER_CLASS, *scale, "-b", f"127.0.0.1:{port}", "--log-level", "error"]
    return [
        Variant("floor: Flask + orjson", [*floor, "floor:app"], {}, floor=True),
        Variant("decision from prefetch", serve, bare | {"CDS_CLIENT_AUTH": "off"}),
        Variant("+ client authentication RS384", serve, bare, tokens["RS384"]),
        Variant("+ client authentication ES384", serve, bare, tokens["ES384"]),
        Variant("+ RS384 and durable storage", serve, stored, tokens["RS384"]),
        Variant("+ ES384 and durable storage", serve, stored, tokens["ES384"]),
    ]


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


def load(directory: Path, port: int, variant: Variant, connections: int, seconds: int, first: int) -> dict[str, float]:
    """One run of wrk; raises WrongAnswer unless every answer was 200 and every 100th is right."""
    samples = directory / "samples"
    environment = os.environ | {
        "PIECES": str(directory / "pieces"),
        "TARGET": "/cds-services/order-sign",
        "SAMPLES": str(samples),
        "FIRST": str(first),
    }
    if variant.bearers:
        environment["BEARERS"] = str(variant.bearers)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    done = subprocess.run(
        [*command, "-s", str(PROJECT / "scripts" / "bench_load.lua"), f"http://127.0.0.1:{port}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result = {key: float(value) for key, value in FIELD.findall(done.stdout.split("RESULT", 1)[1])}
    checked = 0 if variant.floor else check_samples(samples.read_bytes())
    if result["errors"] or (not variant.floor and not checked):
        raise WrongAnswer(f"{variant.name}: {result['errors']:.0f} errors, {checked} answers checked")
    result["rate"] = result["requests"] / result["seconds"]
    return result


def check_samples(data: bytes) -> int:
    """How many answers were looked at; raises WrongAnswer for the first that is not the right one."""
    sent = json.loads(PAYLOAD.read_bytes())["context"]["draftOrders"]["entry"][0]["resource"]
    count = 0
    while data:
        head, _, data = data.partition(b"\n")
        status, size = map(int, head.split())
        body, data = data[:size], data[size + 1 :]
        if status != 200:
            raise WrongAnswer(f"status {status}: {body[:300]!r}")
        check_answer(json.loads(body), sent)
        count += 1
    return count


def check_answer(answer: dict[str, object], sent: dict[str, object]) -> None:
    """The order comes back unchanged but for coverage-information: covered, authorization and documentation needed."""
    (action,) = answer["systemActions"]
    order = action["resource"]
    (extension,) = order.pop("extension")
    patient = order["subject"]["reference"]
    expected = json.loads(json.dumps(sent).replace(f"Patient/{PATIENT}", patient))
    said = {part["url"]: next(value for key, value in part.items() if key != "url") for part in extension["extension"]}
    right = said["covered"] == "covered" and said["pa-needed"] == "auth-needed" and said["doc-needed"] == "clinical"
    if order != expected or not right or not answer["cards"]:
        raise WrongAnswer(f"not the answer of this request: {json.dumps(said)[:400]}")


class Counter:
    """Numbers variants through, so that no token and no hookInstance is used twice within one server's life."""

    def __init__(self) -> None:
        """Start at the first."""
        self.first = 0

    def take(self, count: float) -> int:
        """The next numbers."""
        self.first, now = self.first + int(count), self.first
        return now


def measure(variant: Variant, directory: Path, port: int, seconds: int) -> dict[str, float]:
    """One round: warm up, eight connections, one connection."""
    server = Server(variant, directory, port)
    counter = Counter()
    try:
        counter.take(load(directory, port, variant, 8, 1, counter.first)["requests"] + 16)
        before = server.cpu_seconds()
        busy = load(directory, port, variant, 8, seconds, counter.first)
        spent = server.cpu_seconds() - before
        counter.take(busy["requests"] + 16)
        alone = load(directory, port, variant, 1, max(1, seconds // 3), counter.first)
        counter.take(alone["requests"] + 16)
        if variant.bearers and counter.first > TOKENS:
            raise WrongAnswer(f"{variant.name}: more requests than tokens; shorten --seconds")
        return {
            "cpu_ms": 1000 * spent / busy["requests"],
            "rate": busy["rate"],
            "p50_ms": busy["p50_ms"],
            "p99_ms": busy["p99_ms"],
            "alone_p50_ms": alone["p50_ms"],
            "worker_mb": server.worker_megabytes(),
            "ready_s": server.ready_seconds,
        }
    finally:
        server.stop()


def hook_table(directory: Path, options: argparse.Namespace) -> None:
    """Floor and product alternate; medians and ratios to the floor of the same round."""
    port = free_port()
    write_pieces(directory / "pieces")
    wanted = [
        variant
        for variant in variants(directory, port, options.threads)
        if variant.floor or not options.only or any(part in variant.name for part in options.only)
    ]
    rounds: dict[str, list[dict[str, float]]] = {variant.name: [] for variant in wanted}
    for _ in range(options.rounds):
        for variant in wanted:
            rounds[variant.name].append(measure(variant, directory, port, options.seconds))
    floors = [row["cpu_ms"] for row in rounds[wanted[0].name]]
    what = "2 workers, 23 kB order-sign"
    print(f"{what:34s}   CPU ms  x floor | 8 conn: req/s  p50 ms  p99 ms | 1 conn: p50 |  MB | ready s")
    for name, rows in rounds.items():
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        ratio = statistics.median(row["cpu_ms"] / floor for row, floor in zip(rows, floors, strict=True))
        print(
            f"{name:34s} {middle['cpu_ms']:8.3f} {ratio:8.2f} | {middle['rate']:13.0f} {middle['p50_ms']:7.2f} "
            f"{middle['p99_ms']:7.2f} | {middle['alone_p50_ms']:11.2f} | {middle['worker_mb']:3.0f} | "
            f"{middle['ready_s']:.2f}",
            flush=True,
        )


def evaluate_rate(directory: Path, count: int) -> None:
    """`cds-service evaluate -` on one core, start included."""
    config = directory / "config"
    body = json.dumps(json.loads(PAYLOAD.read_bytes()), separators=(",", ":"))
    lines = directory / "requests.ndjson"
    lines.write_text("".join(body.replace(PATIENT, f"pat-{number:06d}") + "\n" for number in range(count)))
    command = [str(BIN / "cds-service"), "evaluate", "-", "--as-of", "2026-03-02", "--config", str(config)]
    rates = []
    for _ in range(3):
        begun = time.monotonic()
        with lines.open("rb") as source:
            done = subprocess.run(
                ["taskset", "-c", "0", *command], stdin=source, stdout=subprocess.PIPE, check=True, cwd=directory
            )
        rates.append(count / (time.monotonic() - begun))
        documents = done.stdout.splitlines()
        first = json.loads(documents[0])["orders"][0]
        if len(documents) != count or first["dose"][0]["daily"] != {"value": "1.2", "unit": "mg/d"}:
            raise WrongAnswer("evaluate did not print the right documents")
    span = f"{min(rates):.0f}-{max(rates):.0f}"
    print(f"evaluate - on one core: {statistics.median(rates):.0f} requests/s ({span}), start included")


class SlowEhr(BaseHTTPRequestHandler):
    """A FHIR server that takes its time for each read."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the kernel holds each answer back for 40 ms
    delay = 0.1
    resources: ClassVar[dict[str, list[dict[str, object]]]] = {}

    def do_GET(self) -> None:
        """Answer a read or a search after the delay."""
        time.sleep(self.delay)
        kind, _, ident = self.path.removeprefix("/fhir/").partition("?")[0].partition("/")
        held = self.resources.get(kind, [])
        if ident:
            found = next((one for one in held if one["id"] == ident), None)
            status, value = (200, found) if found else (404, {"resourceType": "OperationOutcome", "issue": []})
        else:
            entries = [{"resource": one, "search": {"mode": "match"}} for one in held]
            status, value = 200, {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def pull_path(directory: Path, calls: int) -> None:
    """Time of a call without prefetch, against the longest chain of dependent reads (Coverage, then its payer)."""
    request = json.loads(PAYLOAD.read_bytes())
    for value in request.pop("prefetch").values():
        for one in [entry["resource"] for entry in value["entry"]] if value["resourceType"] == "Bundle" else [value]:
            SlowEhr.resources.setdefault(one["resourceType"], []).append(one)
    ehr = ThreadingHTTPServer(("127.0.0.1", 0), SlowEhr)
    ehr.daemon_threads = True
    ehr.socket.listen(128)
    threading.Thread(target=ehr.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{ehr.server_address[1]}/fhir"
    port = free_port()
    url = f"http://127.0.0.1:{port}/cds-services/order-sign"
    key = ECKey.generate_key("P-384", private=True)
    public = key.as_dict(private=False) | {"kid": "pull", "alg": "ES384"}
    clients = directory / "pull-clients"
    clients.mkdir()
    client = {"id": "pull", "name": "slow EHR", "issuer": ISSUER, "jwks": {"keys": [public]}, "fhir_servers": [base]}
    (clients / "pull.yaml").write_text(json.dumps(client | {"allow_http": True, "allow_private": True}))
    environment = {
        "CDS_CONFIG_DIR": str(directory / "config"),
        "CDS_CLIENTS_DIR": str(clients),
        "CDS_KEY_FILE": str(directory / "patient.key"),
        "CDS_DATABASE_URL": "memory:",
    }
    serve = [str(BIN / "cds-service"), "serve", "--port", str(port), "--workers", "1", "--insecure-dev"]
    server = Server(Variant("pull", serve, environment), directory, port)
    times = []
    try:
        for number in range(calls):
            now = int(time.time())
            claims = {"iss": ISSUER, "aud": url, "iat": now, "exp": now + 300, "jti": f"pull-{number}"}
            token = jwt.encode({"alg": "ES384", "kid": "pull", "typ": "JWT"}, claims, key, algorithms=["ES384"])
            lent = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.rs"}
            body = request | {"hookInstance": f"{number:08x}-0000-4000-8000-000000000000", "fhirServer": base}
            body["fhirAuthorization"] = lent | {"subject": "bench"}
            call = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
            call.add_header("Authorization", f"Bearer {token}")
            begun = time.monotonic()
            with urllib.request.urlopen(call, timeout=10) as answer:
                said = json.loads(answer.read())
            times.append(1000 * (time.monotonic() - begun))
            if not said.get("systemActions"):
                raise WrongAnswer("the pull path gave no coverage-information")
    finally:
        server.stop()
        ehr.shutdown()
    chain = 2 * 1000 * SlowEhr.delay
    print(
        f"pull path: {statistics.median(times):.0f} ms (worst {max(times):.0f}); two dependent reads of "
        f"{1000 * SlowEhr.delay:.0f} ms, allowed {1.3 * chain + 20:.0f} ms"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which floor and product alternate (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measured run (default 3)")
    parser.add_argument("--threads", type=int, default=4, help="threads of each worker (default 4)")
    parser.add_argument("--only", nargs="*", help="variants whose name holds one of these words")
    parser.add_argument("--part", choices=["hook", "evaluate", "pull", "dtr", "all"], default="all")
    options = parser.parse_args()
    if not PAYLOAD.is_file():
        sys.exit(f"bench: needs the reference request {PAYLOAD.name} in ../shared/bench beside the project")
    if not shutil.which("wrk") and options.part in {"hook", "dtr", "all"}:
        sys.exit("bench: needs wrk (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        try:
            write_configuration(directory, {"keys": []}) if options.part in {"evaluate", "pull"} else None
            if options.part in {"hook", "all"}:
                hook_table(directory, options)
            if options.part in {"evaluate", "all"}:
                evaluate_rate(directory, 5_000)
            if options.part in {"pull", "all"}:
                pull_path(directory, 20)
            if options.part in {"dtr", "all"}:
                from scripts.bench_documentation import documentation_table  # noqa: PLC0415 - it builds on this one

                documentation_table(directory, options.seconds, options.threads)
        except WrongAnswer as wrong:
            sys.exit(f"bench: no figure, {wrong}")


if __name__ == "__main__":
    from scripts.bench import main as run  # one module, whoever imports it: its errors are caught by their class

    run()
