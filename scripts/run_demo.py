"""`make run`: migrate, prepare the sandbox, start service and sandbox, say where they are, stop both on Ctrl-C.

The service runs in development mode (plain http on loopback); signed client tokens stay on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
VAR = ROOT / "var"
SANDBOX = VAR / "sandbox"
READY_SECONDS = 30
STOP_SECONDS = 25


def main() -> int:
    """Run until a signal, or until one of the two ends."""
    try:
        cds_port, sandbox_port = port("CDS_PORT", 8000), port("SANDBOX_PORT", 8080)
        check_free(cds_port, "CDS_PORT", but=sandbox_port)
        check_free(sandbox_port, "SANDBOX_PORT", but=cds_port)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    cds_url, sandbox_url = f"http://127.0.0.1:{cds_port}", f"http://127.0.0.1:{sandbox_port}"
    environment = os.environ | {
        "CDS_PORT": str(cds_port),
        "CDS_PUBLIC_URL": cds_url,
        "CDS_CLIENTS_DIR": str(SANDBOX / "clients"),
        "CDS_DATABASE_URL": os.environ.get("CDS_DATABASE_URL", f"sqlite:///{VAR / 'cds.sqlite3'}"),
        "CDS_KEY_FILE": os.environ.get("CDS_KEY_FILE", str(VAR / "patient.key")),
        "CDS_INSECURE_DEV": "on",
    }
    stop = Stop()
    try:
        prepare(environment, sandbox_url)
    except subprocess.CalledProcessError as error:
        return error.returncode
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.append(start(["cds-service", "serve", "--insecure-dev"], environment))
        sandbox = ["sandbox-ehr", "serve", "--var", str(SANDBOX), "--port", str(sandbox_port), "--cds-url", cds_url]
        running.append(start(sandbox, environment))
        if not ready(f"{cds_url}/readyz", running, stop) or not ready(f"{sandbox_url}/", running, stop):
            return 0 if stop.asked else 1
        announce(cds_url, sandbox_url)
        while not stop.asked and not ended(running):
            time.sleep(0.1)
        return 0 if stop.asked else 1
    finally:
        end(running)


class Stop:
    """Remembers that a signal asked us to stop."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


def port(name: str, default: int) -> int:
    """A port from the environment."""
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise ValueError(f"{name} is {text!r}; allowed: a port from 1 to 65535")
    return int(text)


def check_free(number: int, name: str, *, but: int) -> None:
    """Raise with a way out, a port that is free and is not ``but``, when something listens there already."""
    if number == but or listens(number):
        others = (other for other in range(number + 1, 65_536) if other != but and not listens(other))
        raise ValueError(f"Port {number} is taken. Choose another one: make run {name}={next(others, 'PORT')}")


def listens(number: int) -> bool:
    """Whether something listens on this port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return True
    return False


def prepare(environment: dict[str, str], sandbox_url: str) -> None:
    """Database, keys of the sandbox, its registration at the service, its authorizations on file."""
    VAR.mkdir(exist_ok=True)
    run([BIN / "sandbox-ehr", "init", "--var", SANDBOX, "--base-url", sandbox_url], environment)
    run([BIN / "cds-service", "db", "upgrade"], environment)
    run([BIN / "cds-service", "authorizations", "import", SANDBOX / "authorizations.csv"], environment)


def run(command: list[str | Path], environment: dict[str, str]) -> None:
    """One step; its output is shown only when it fails."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        done.check_returncode()


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """One of the two, in a process group of its own, so that Ctrl-C reaches only us and we stop it in order."""
    with (VAR / f"{command[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def ready(url: str, running: list[subprocess.Popen[bytes]], stop: Stop) -> bool:
    """Wait until it answers; False when asked to stop, or when one of the two has ended."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and not stop.asked:
        if ended(running):
            return False
        try:
            with urllib.request.urlopen(url, timeout=1):
                return True
        except OSError:
            time.sleep(0.05)
    if not stop.asked:
        print(f"{url} did not answer within {READY_SECONDS} seconds; see var/*.log", file=sys.stderr)
    return False


def ended(running: list[subprocess.Popen[bytes]]) -> bool:
    """Whether one of the two has ended by itself; which one is said."""
    for process in running:
        if process.poll() is not None:
            name = Path(str(process.args[0])).name  # type: ignore[index]
            print(f"{name} ended; see var/{name}.log", file=sys.stderr)
            return True
    return False


def announce(cds_url: str, sandbox_url: str) -> None:
    """Where to look first."""
    print(f"""
  Sandbox EHR   {sandbox_url}    order a drug for a sample patient, press Sign
  Service       {cds_url}    policies, discovery
  Logs          var/cds-service.log, var/sandbox-ehr.log

Ready. Stop with Ctrl-C.""")
    sys.stdout.flush()


def end(running: list[subprocess.Popen[bytes]]) -> None:
    """Stop all, the EHR first, each within its drain time."""
    for process in reversed(running):
        if process.poll() is None:
            process.terminate()
    for process in reversed(running):
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
