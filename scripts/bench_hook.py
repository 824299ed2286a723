"""order-sign against the floor of a bare Flask endpoint: CPU of a request, rate, latency, memory.

Every request is a variant of one body with its own hookInstance, patient and token; every 100th answer is checked, and
where one is wrong no figure is printed. CPU per request counts the server's processes only, so it stays meaningful on a
busy machine.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from scripts.bench_server import (
    BIN,
    ISSUER,
    PATIENT,
    PAYLOAD,
    PROJECT,
    Server,
    Variant,
    WrongAnswer,
    free_port,
    write_configuration,
)

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


def hook_table(directory: Path, *, rounds: int, seconds: int, threads: int, only: list[str]) -> None:
    """Floor and product alternate; medians and ratios to the floor of the same round."""
    port = free_port()
    write_pieces(directory / "pieces")
    wanted = [
        variant
        for variant in variants(directory, port, threads)
        if variant.floor or not only or any(part in variant.name for part in only)
    ]
    measured: dict[str, list[dict[str, float]]] = {variant.name: [] for variant in wanted}
    for _ in range(rounds):
        for variant in wanted:
            measured[variant.name].append(measure(variant, directory, port, seconds))
    floors = [row["cpu_ms"] for row in measured[wanted[0].name]]
    what = "2 workers, 23 kB order-sign"
    print(f"{what:34s}   CPU ms  x floor | 8 conn: req/s  p50 ms  p99 ms | 1 conn: p50 |  MB | ready s")
    for name, rows in measured.items():
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        ratio = statistics.median(row["cpu_ms"] / floor for row, floor in zip(rows, floors, strict=True))
        print(
            f"{name:34s} {middle['cpu_ms']:8.3f} {ratio:8.2f} | {middle['rate']:13.0f} {middle['p50_ms']:7.2f} "
            f"{middle['p99_ms']:7.2f} | {middle['alone_p50_ms']:11.2f} | {middle['worker_mb']:3.0f} | "
            f"{middle['ready_s']:.2f}",
            flush=True,
        )
