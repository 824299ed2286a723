"""Every command of the README is executed, in a copy of the project, so that the first thing a newcomer types works.

Commands that run until stopped are driven to their ready line (or answer) and stopped. ``make test`` is run on one
small folder: it is this suite. ``make run`` and ``serve`` get free ports.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.adapters.client_auth import REASONS
from tests.support.web_server import free_port

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXPECTED = {  # command -> exit statuses beside 0 that are an honest answer to it
    "check-client": {1},  # the example's addresses belong to nobody
}


def commands(text: str) -> list[str]:
    """Lines of all fenced sh blocks, in order."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = commands(README.read_text("utf-8"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git would give a newcomer, with the environment that is already installed."""
    target = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to(ROOT / ".venv")
    return target


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """As a newcomer's, with free ports and a small suite; nothing of a make that this suite may run under."""
    outside = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    return outside | {
        "CDS_PORT": str(free_port()),
        "APP_PORT": str(free_port()),
        "SANDBOX_PORT": str(free_port()),
        "PYTEST_ARGS": "-p no:cacheprovider -q tests/unit/test_settings.py",
        "WORKERS": "0",
    }


def test_readme_names_the_two_commands_first() -> None:
    assert COMMANDS[:2] == ["make run", "make test"]
    assert len(COMMANDS) > 8


def started(command: str, clone: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"ended early:\n{log.read_text('utf-8')}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"not ready in {seconds} s:\n{log.read_text('utf-8')}")


def stop(process: subprocess.Popen[bytes], with_signal: signal.Signals) -> int:
    os.killpg(process.pid, with_signal)
    try:
        return process.wait(40)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    path.touch()
    return path


def test_make_run_serves_all_says_where_and_stops_on_ctrl_c(
    clone: Path, environment: dict[str, str], log: Path
) -> None:
    process = started("make run", clone, environment, log)
    try:
        names = ("CDS_PORT", "APP_PORT", "SANDBOX_PORT")
        service, app, sandbox = (f"http://127.0.0.1:{environment[name]}" for name in names)
        wait_for(f"{service}/readyz", process, log)
        wait_for(f"{app}/readyz", process, log)
        wait_for(f"{sandbox}/", process, log)
        until = time.monotonic() + 60
        while b"Ready." not in log.read_bytes() and time.monotonic() < until:
            time.sleep(0.1)
        text = log.read_text("utf-8")
        assert service in text
        assert app in text
        assert sandbox in text
        assert "Ready. Stop with Ctrl-C." in text
    finally:
        stop(process, signal.SIGINT)
    for url in (service, app, sandbox):
        with pytest.raises(OSError):
            urllib.request.urlopen(f"{url}/", timeout=1)


def test_taken_port_is_named_with_the_way_out(clone: Path, environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in (["make", "run"], [".venv/bin/cds-service", "serve"]):
            done = subprocess.run(
                command, cwd=clone, env=environment | {"CDS_PORT": port}, capture_output=True, text=True, check=False
            )
            assert done.returncode != 0
            assert port in done.stderr
            assert "CDS_PORT" in done.stderr
            assert "Traceback" not in done.stderr


def test_serve_starts_and_stops(clone: Path, environment: dict[str, str], log: Path) -> None:
    command = next(each for each in COMMANDS if "cds-service serve" in each)
    port = free_port()
    process = started(re.sub(r"--port \d+", f"--port {port}", command), clone, environment, log)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process, log)
    finally:
        assert stop(process, signal.SIGTERM) == 0


def test_commands_of_the_readme_work_in_their_order(clone: Path, environment: dict[str, str]) -> None:
    ended = [each for each in COMMANDS if each != "make run" and " serve" not in each]
    assert len(ended) > 8
    for command in ended:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        allowed = {0}.union(*(statuses for word, statuses in EXPECTED.items() if word in command))
        assert done.returncode in allowed, f"{command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, command


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", README.read_text("utf-8"))
    assert len(links) > 4
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_of_the_docs_is_reached_from_the_readme_and_no_link_is_dead() -> None:
    reached, to_read = set[Path](), [README]
    while to_read:
        page = to_read.pop()
        reached.add(page)
        for link in re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text("utf-8")):
            target = (page.parent / link).resolve()
            assert target.exists(), f"{page.name}: {link}"
            if target.suffix == ".md" and target not in reached:
                to_read.append(target)
    assert {*ROOT.glob("docs/**/*.md"), ROOT / "config" / "clients" / "README.md"} <= reached


def test_every_reason_of_a_refused_token_is_explained() -> None:
    text = (ROOT / "config" / "clients" / "README.md").read_text("utf-8")
    table = re.findall(r"^\|([^|]+)\|", text[text.index("| `reason` |") :], re.MULTILINE)[2:]
    assert set(re.findall(r"`(\w+)`", "".join(table))) == REASONS
