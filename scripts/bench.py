"""Speed of the service against the floor of a bare Flask endpoint; prints one table and ends by itself.

Servers run on this machine's loopback with two workers each and are driven by wrk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.bench_documentation import documentation_table
from scripts.bench_hook import hook_table
from scripts.bench_pull import pull_path
from scripts.bench_server import BIN, PATIENT, PAYLOAD, WrongAnswer, write_configuration
from scripts.ending import end_in_order


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


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which floor and product alternate (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measured run (default 3)")
    parser.add_argument("--threads", type=int, default=4, help="threads of each worker (default 4)")
    parser.add_argument("--only", nargs="*", help="variants whose name holds one of these words")
    parser.add_argument("--part", choices=["hook", "evaluate", "pull", "dtr", "all"], default="all")
    options = parser.parse_args()
    end_in_order()
    if not PAYLOAD.is_file():
        sys.exit(f"bench: needs the reference request {PAYLOAD.name} in ../shared/bench beside the project")
    if not shutil.which("wrk") and options.part in {"hook", "dtr", "all"}:
        sys.exit("bench: needs wrk (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        try:
            write_configuration(directory, {"keys": []}) if options.part in {"evaluate", "pull"} else None
            if options.part in {"hook", "all"}:
                how = {"rounds": options.rounds, "seconds": options.seconds, "threads": options.threads}
                hook_table(directory, **how, only=options.only or [])
            if options.part in {"evaluate", "all"}:
                evaluate_rate(directory, 5_000)
            if options.part in {"pull", "all"}:
                pull_path(directory, 20)
            if options.part in {"dtr", "all"}:
                documentation_table(directory, options.seconds, options.threads)
        except WrongAnswer as wrong:
            sys.exit(f"bench: no figure, {wrong}")


if __name__ == "__main__":
    main()
