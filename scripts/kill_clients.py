"""The clients of the kill test, and the verdict: what was acknowledged, and what became of it."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.database import Database
from tests.support import pas_bundles

CLIENT = "kill-test"
CLIENTS = 6


class Rig(Protocol):
    """What clients need of the running programs."""

    key: ECKey
    rng: random.Random
    service_port: int
    database_url: str

    def call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """One call of the service; raises OSError."""
        ...

    def received(self) -> dict[str, Any]:
        """What the receiver has."""
        ...


@dataclass
class Clients:
    """Careful clients: each request, and the update of some, is repeated byte for byte until it is acknowledged."""

    rig: Rig
    acknowledged: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # identifier -> request, response
    refused: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # identifiers that were answered in two ways
    retries: int = 0
    _token: tuple[str, float] = ("", 0.0)

    def start(self) -> None:
        """In threads, until ``finish``."""
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._numbers = iter(range(1, 1_000_000))
        self._threads = [threading.Thread(target=self._work, args=(seed,), daemon=True) for seed in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin nothing new; what was begun is repeated until it is acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, seed: int) -> None:
        rng = random.Random(f"{self.rig.rng.random()}:{seed}")
        today = datetime.now(UTC).date().isoformat()
        while not self._stop.is_set():
            with self._guard:
                number = next(self._numbers)
            values = None if number % 2 else {**pas_bundles.COMPLETE, "noninvasive_trial_outcome": None}
            bundle = pas_bundles.request(number=number, authored=today, values=values)
            self._until_acknowledged(bundle)
            if values is not None and rng.random() < 0.5:  # a pended case, completed by an update
                update = pas_bundles.update_of(bundle, identifier=f"U{number:07d}")
                self._until_acknowledged(update)
            if rng.random() < 0.1:
                self._once_more(bundle)

    def _until_acknowledged(self, bundle: dict[str, Any]) -> None:
        body, identifier = pas_bundles.encoded(bundle), bundle["identifier"]["value"]
        while True:
            status, answer = self._submit(body)
            if status == 200:
                with self._guard:
                    self.acknowledged[identifier] = (body, answer)
                return
            if 400 <= status < 500 and status not in {401, 408, 429}:
                with self._guard:
                    self.refused.append(f"{identifier}: {status} {answer[:300]!r}")
                return
            with self._guard:
                self.retries += 1
            time.sleep(0.05)

    def _once_more(self, bundle: dict[str, Any]) -> None:
        """A repeat after the acknowledgement gets the stored bytes."""
        status, answer = self._submit(pas_bundles.encoded(bundle))
        identifier = bundle["identifier"]["value"]
        if status == 200 and identifier in self.acknowledged and answer != self.acknowledged[identifier][1]:
            self.changed.append(identifier)

    def _submit(self, body: bytes) -> tuple[int, bytes]:
        try:
            headers = {"Content-Type": "application/fhir+json", "Authorization": f"Bearer {self.bearer()}"}
            status, answer = self.rig.call("POST", "/pas/2.2/Claim/$submit", body, headers)
        except OSError:
            return 0, b""
        if status == 401:
            self._token = ("", 0.0)
        return status, answer

    def bearer(self) -> str:
        """A token; raises OSError where none is given now."""
        token, until_when = self._token
        if token and time.monotonic() < until_when:
            return token
        now, url = int(time.time()), f"http://127.0.0.1:{self.rig.service_port}/oauth/token"
        claims = {"iss": CLIENT, "sub": CLIENT, "aud": url, "iat": now, "exp": now + 240, "jti": os.urandom(16).hex()}
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Claim.cu",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode({"alg": "ES384", "kid": "k1"}, claims, self.rig.key, algorithms=["ES384"]),
        }
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = self.rig.call("POST", "/oauth/token", urlencode(form).encode(), kind)
        if status != 200:
            raise OSError("no token")
        self._token = (json.loads(answer)["access_token"], time.monotonic() + 200)
        return self._token[0]


def judge(rig: Rig, clients: Clients) -> tuple[int, int, list[str]]:
    """(lost, doubled, what else is wrong) once everything has been delivered that will be."""
    told, wrong = rig.received(), list(clients.refused)
    lost = doubled = 0
    for _, answer in clients.acknowledged.values():
        name = json.loads(answer)["entry"][0]["resource"]["identifier"][0]["value"]
        times = told["effects"].get(name, 0)
        lost += times == 0
        doubled += times > 1
    doubled += len(clients.changed)
    database = Database(rig.database_url, pool_size=1, busy_seconds=30)
    with database.engine.connect() as connection:

        def count(query: str) -> int:
            return int(connection.exec_driver_sql(query).scalar() or 0)

        submissions = count("SELECT count(*) FROM pa_submission")
        cases = count("SELECT count(DISTINCT case_id) FROM pa_version")
        first = count("SELECT count(*) FROM pa_version WHERE n = 1")
        undone = count("SELECT count(*) FROM outbox WHERE state <> 'done'")
        rows, versions = count("SELECT count(*) FROM outbox"), count("SELECT count(*) FROM pa_version")
        events = count("SELECT count(*) FROM case_event WHERE kind = 'received'")
    facts = {
        "one submission for each acknowledgement": submissions == len(clients.acknowledged),
        "one case for each first request": cases == first == sum(name[0] == "B" for name in clients.acknowledged),
        "a message for each version": rows == versions,
        "every message delivered": undone == 0,
        "one event for each receipt": events >= cases,
        "versions of a case in order": in_order(told["order"]),
        "an unbroken audit log": audit.verify(database).ok,
        "nothing at the receiver that nobody wrote": len(told["effects"]) == versions,
    }
    database.close()
    return lost, doubled, wrong + [f"not so: {fact}" for fact, holds in facts.items() if not holds]


def in_order(names: list[str]) -> bool:
    """Whether of each case version 1 took effect before version 2."""
    seen: dict[str, int] = {}
    for name in names:
        case, _, n = name.rpartition(".")
        if int(n) <= seen.get(case, 0):
            return False
        seen[case] = int(n)
    return True
