"""Speed of the DTR operations, tokens checked and records kept: `$questionnaire-package` and `$next-question`.

The bar is a p99 of 50 ms on two cores. One order-sign call makes the context; then wrk sends each operation over four
connections. Every answer must be 200, and the first is looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from scripts.bench_server import (
    BIN,
    ISSUER,
    PATIENT,
    PAYLOAD,
    Server,
    Variant,
    WrongAnswer,
    free_port,
    write_configuration,
)

BAR_MS = 50.0
SYSTEM = "bench-app"
SCRIPT = """
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/fhir+json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
done = function(summary, latency)
  io.write(string.format("RESULT rate=%.0f p50_ms=%.2f p99_ms=%.2f errors=%d\\n",
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout))
end
"""


def documentation_table(directory: Path, seconds: int, threads: int) -> None:
    """Two rows: the package with context and order, and the second call of the adaptive form."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    key = ECKey.generate_key("P-384", private=True)
    public = key.as_dict(private=False) | {"kid": "bench", "alg": "ES384"}
    folder = directory / "documentation"
    folder.mkdir()
    config = write_configuration(folder, {"keys": [public]})
    scopes = ["system/Questionnaire.rs", "system/ValueSet.rs"]
    system = {"id": SYSTEM, "name": "Measured app", "jwks": {"keys": [public]}, "scopes": scopes}
    (config / "backend_clients" / "bench.yaml").write_text(json.dumps(system))
    environment = {
        "CDS_CONFIG_DIR": str(config),
        "CDS_KEY_FILE": str(folder / "patient.key"),
        "CDS_TOKEN_KEY_FILE": str(folder / "token.key"),
        "CDS_DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3",
        "CDS_SMART_APP_URL": "http://127.0.0.1:9",
    }
    scale = ["--workers", "2", "--threads", str(threads)]
    serve = [str(BIN / "cds-service"), "serve", "--port", str(port), *scale, "--insecure-dev"]
    server = Server(Variant("documentation", serve, environment), folder, port)
    try:
        token = _token(base, key)
        package = _package(_context(base, key), json.loads(PAYLOAD.read_bytes()))
        question = _question(base, token, package)
        print("2 workers, DTR 2.2, 4 connections     req/s   p50 ms   p99 ms   bar")
        for name, body in (("questionnaire-package", package), ("next-question", question)):
            figures = _load(folder, f"{base}/dtr/2.2/Questionnaire/${name}", token, body, seconds)
            mark = "kept" if figures["p99_ms"] <= BAR_MS else "missed"
            print(
                f"${name:34s} {figures['rate']:8.0f} {figures['p50_ms']:8.2f} {figures['p99_ms']:8.2f}   "
                f"{BAR_MS:.0f} ms {mark}",
                flush=True,
            )
    finally:
        server.stop()


def _post(url: str, body: bytes, kind: str, token: str = "") -> Any:
    call = urllib.request.Request(url, body, {"Content-Type": kind})
    if token:
        call.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(call, timeout=10) as answer:
        return json.loads(answer.read())


def _signed(key: ECKey, issuer: str, audience: str) -> str:
    now = int(time.time())
    claims = {"iss": issuer, "sub": issuer, "aud": audience, "iat": now, "exp": now + 300, "jti": f"bench-{now}"}
    return jwt.encode({"alg": "ES384", "kid": "bench", "typ": "JWT"}, claims, key, algorithms=["ES384"])


def _token(base: str, key: ECKey) -> str:
    form = {
        "grant_type": "client_credentials",
        "scope": "system/Questionnaire.rs system/ValueSet.rs",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": _signed(key, SYSTEM, f"{base}/oauth/token"),
    }
    answer = _post(f"{base}/oauth/token", urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded")
    return str(answer["access_token"])


def _context(base: str, key: ECKey) -> str:
    """The assertion id of the measured order, signed once."""
    url = f"{base}/cds-services/order-sign"
    year = time.strftime("%Y").encode()
    body = PAYLOAD.read_bytes().replace(b'"end":"2026-12-31"', b'"end":"%b-12-31"' % year)
    answer = _post(url, body, "application/json", _signed(key, ISSUER, url))
    found = re.search(r'"coverage-assertion-id","valueString":"([^"]+)"', json.dumps(answer, separators=(",", ":")))
    if found is None:
        raise WrongAnswer("order-sign gave no assertion to document")
    return found[1]


def _package(context: str, request: dict[str, Any]) -> dict[str, Any]:
    coverage = request["prefetch"]["coverage"]
    held = coverage["entry"][0]["resource"] if coverage["resourceType"] == "Bundle" else coverage
    order = next(
        entry["resource"]
        for entry in request["context"]["draftOrders"]["entry"]
        if entry["resource"]["resourceType"] == "MedicationRequest"
    )
    parts = [
        {"name": "coverage", "resource": held},
        {"name": "order", "resource": order},
        {"name": "context", "valueString": context},
    ]
    return {"resourceType": "Parameters", "parameter": parts}


def _question(base: str, token: str, package: dict[str, Any]) -> dict[str, Any]:
    """The response after the first call, as a form in the middle sends it."""
    canonical = "https://cds.example.org/fhir/Questionnaire/09-J1000-31-adaptive"
    asked = {"resourceType": "Parameters", "parameter": [*package["parameter"]]}
    asked["parameter"].append({"name": "questionnaire", "valueCanonical": canonical})
    url = f"{base}/dtr/2.2/Questionnaire/$questionnaire-package"
    answer = _post(url, json.dumps(asked).encode(), "application/fhir+json", token)
    bundles = [part["resource"] for part in answer["parameter"] if part["name"] == "packagebundle"]
    draft = next(
        bundle["entry"][1]["resource"]
        for bundle in bundles
        if bundle["entry"][0]["resource"]["url"].endswith("-adaptive")
    )
    if PATIENT not in json.dumps(draft):
        raise WrongAnswer("the draft is not for the patient of the order")
    response: dict[str, Any] = _post(
        f"{base}/dtr/2.2/Questionnaire/$next-question", json.dumps(draft).encode(), "application/fhir+json", token
    )
    given: list[dict[str, Any]] = [
        {"linkId": item["linkId"], "answer": [{"valueCoding": item["answerOption"][0]["valueCoding"]}]}
        for group in response["contained"][0]["item"]
        for item in group.get("item", ())
        if item.get("answerOption") and (item.get("required") or item["linkId"].endswith("_cannot_determine"))
    ]
    body: dict[str, Any] = response | {"item": given}
    _post(f"{base}/dtr/2.2/Questionnaire/$next-question", json.dumps(body).encode(), "application/fhir+json", token)
    return body


def _load(folder: Path, url: str, token: str, body: dict[str, Any], seconds: int) -> dict[str, float]:
    (folder / "load.lua").write_text(SCRIPT)
    (folder / "body.json").write_text(json.dumps(body))
    command = ["wrk", "-t", "1", "-c", "4", "-d", f"{seconds}s", "--latency", "-s", str(folder / "load.lua"), url]
    environment = {"BODY": str(folder / "body.json"), "TOKEN": token, "PATH": "/usr/bin:/bin:/usr/local/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=seconds + 30)
    found = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", done.stdout.split("RESULT")[1])}
    if found["errors"]:
        raise WrongAnswer(f"{found['errors']:.0f} answers of {url.rpartition('/')[2]} were not 200")
    return found
