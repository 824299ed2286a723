"""A process of the service for tests of replays: one call per line of standard input, one answer per line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.support.e2e_service import Service, running


def main() -> None:
    """Say ``ready``; for each line {"body": text, "token": text} say {"status": n, "body": text, "replayed": bool}."""
    database, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    keys = json.loads(sys.stdin.readline())
    with running(database, jwks=keys, **settings) as service:
        _say("ready")
        for line in sys.stdin:
            _say(json.dumps(_answered(service, json.loads(line))))


def _answered(service: Service, call: dict[str, str]) -> dict[str, object]:
    answer = service.send("/cds-services/order-sign", call["body"].encode(), call["token"])
    return {"status": answer.status, "body": answer.bytes.decode(), "replayed": service.last()["replayed"]}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
