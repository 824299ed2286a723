"""The way of a call without prefetch, against an EHR that takes its time."""

from __future__ import annotations

import json
import statistics
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from joserfc import jwt
from joserfc.jwk import ECKey

from scripts.bench_server import BIN, ISSUER, PAYLOAD, Server, Variant, WrongAnswer, free_port


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
