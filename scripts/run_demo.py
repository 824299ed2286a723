"""`make run`: migrate, register all at each other, start the programs, say where they are, stop them on Ctrl-C.

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

from scripts.demo_parts import ROOT, Demo, run_quietly, start

VAR = ROOT / "var"
READY_SECONDS = 30
STOP_SECONDS = 25
PORTS = {"CDS_PORT": 8000, "APP_PORT": 8090, "SANDBOX_PORT": 8080}


def main() -> int:
    """Run until a signal, or until one of the programs ends."""
    try:
        ports = {name: port(name, default) for name, default in PORTS.items()}
        for name, number in ports.items():
            check_free(number, name, but={other for each, other in ports.items() if each != name})
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    demo = Demo(ports["CDS_PORT"], ports["APP_PORT"], ports["SANDBOX_PORT"], VAR)
    environment = demo.environment()
    stop = Stop()
    say("Making keys, registrations and databases")
    try:
        demo.prepare(lambda command: run_quietly(command, environment))
        settings = VAR / "demo.env"
        settings.touch(mode=0o600)  # an address of a database may hold a password
        settings.write_text(demo.settings_file(environment), "utf-8")
    except subprocess.CalledProcessError as error:
        return error.returncode
    running: list[subprocess.Popen[bytes]] = []
    try:
        for program in demo.programs():
            say(f"Starting {program.name}")
            running.append(start(program, environment, VAR / f"{program.name.replace(' ', '-')}.log"))
            if program.ready and not ready(program.ready, running, stop):
                return 0 if stop.asked else 1
        announce(demo)
        while not stop.asked and not ended(running):
            time.sleep(0.1)
        if stop.asked:
            say("Stopping; what is being answered is finished first")
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


def check_free(number: int, name: str, *, but: set[int]) -> None:
    """Raise with a way out, a port that is free and not in ``but``, when something listens there already."""
    if number in but or listens(number):
        others = (other for other in range(number + 1, 65_536) if other not in but and not listens(other))
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


def ready(url: str, running: list[subprocess.Popen[bytes]], stop: Stop) -> bool:
    """Wait until it answers; False when asked to stop, or when one of them has ended."""
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
    """Whether one of them has ended by itself; which one is said."""
    for process in running:
        if process.poll() is not None:
            name = Path(str(process.args[0])).name  # type: ignore[index]
            print(f"{name} ended; see var/{name}.log", file=sys.stderr)
            return True
    return False


def say(words: str) -> None:
    """What is being done, at once."""
    print(words, flush=True)


def announce(demo: Demo) -> None:
    """Where to look first."""
    print(f"""
  Sandbox EHR   {demo.ehr}    order a drug for a sample patient, press Sign
  App           {demo.app}    opened from a card or a chart: the coverage questionnaire
  Service       {demo.cds}    the payer's: policies, discovery
  Review desk   {demo.cds}/review    where a person settles what a machine must not
  Payer         {demo.ehr}/payer    what the payer's systems have received
  Logs          var/*.log
  Commands      . var/demo.env    in another terminal; then .venv/bin/smart-app check and all others know these programs

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
