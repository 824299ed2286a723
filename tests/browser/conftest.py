"""Service and sandbox as real processes on free ports, and a real Chromium in front of them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

BIN = Path(sys.executable).parent
READY_SECONDS = 30
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Demo:
    """Where the two run, and how to ask the service's command line about its own database."""

    def __init__(self, cds: str, ehr: str, environment: dict[str, str]) -> None:
        self.cds, self.ehr, self._environment = cds, ehr, environment

    def cds_service(self, *arguments: str) -> str:
        return run(["cds-service", *arguments], self._environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wait_until_ready(url: str, process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, f"{process.args} ended:\n{log.read_text()}"
        try:
            if requests.get(url, timeout=2).status_code == 200:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail(f"{url} is not ready after {READY_SECONDS} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    var = tmp_path_factory.mktemp("demo")
    cds_port, ehr_port = free_port(), free_port()
    cds, ehr = f"http://127.0.0.1:{cds_port}", f"http://127.0.0.1:{ehr_port}"
    sandbox = var / "sandbox"
    environment = os.environ | {
        "CDS_PORT": str(cds_port),
        "CDS_PUBLIC_URL": cds,
        "CDS_CLIENTS_DIR": str(sandbox / "clients"),
        "CDS_DATABASE_URL": f"sqlite:///{var / 'cds.sqlite3'}",
        "CDS_KEY_FILE": str(var / "patient.key"),
        "CDS_INSECURE_DEV": "on",
    }
    run(["sandbox-ehr", "init", "--var", str(sandbox), "--base-url", ehr], environment)
    run(["cds-service", "db", "upgrade"], environment)
    run(["cds-service", "authorizations", "import", str(sandbox / "authorizations.csv")], environment)
    commands = {
        f"{cds}/readyz": ["cds-service", "serve", "--insecure-dev", "--workers", "1"],
        f"{ehr}/livez": ["sandbox-ehr", "serve", "--var", str(sandbox), "--port", str(ehr_port), "--cds-url", cds],
    }
    running: list[subprocess.Popen] = []
    try:
        for url, command in commands.items():
            log = var / f"{command[0]}.log"
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [BIN / command[0], *command[1:]], env=environment, stdout=file, stderr=file, cwd=var
                )
            running.append(process)
            wait_until_ready(url, process, log)
        yield Demo(cds, ehr, environment)
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.fail("the browser tests need Chromium: install it, or say where it is with CHROMIUM=/path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=[{"width": 1280, "height": 900}])
def page(chromium: Browser, demo: Demo, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh browser profile; a script error or a refused resource fails the test (422 is a form sent back)."""
    context = chromium.new_context(viewport=request.param, base_url=demo.ehr)
    context.set_default_timeout(15_000)
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    yield opened
    context.close()
    assert [text for text in trouble if "422" not in text] == []
