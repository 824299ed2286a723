"""Service, app, delivery and sandbox as real processes on free ports, and a real Chromium in front of them."""

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
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from scripts.demo_parts import Demo as Parts
from scripts.demo_parts import start

BIN = Path(sys.executable).parent
READY_SECONDS = 90
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Demo:
    """Where all run, and how to ask the service's command line about its own database."""

    def __init__(self, parts: Parts, environment: dict[str, str]) -> None:
        self.cds, self.app, self.ehr = parts.cds, parts.app, parts.ehr
        self._environment = environment

    def cds_service(self, *arguments: str) -> str:
        return run(("cds-service", *arguments), self._environment)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; held together, so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def run(command: tuple[str, ...], environment: dict[str, str]) -> str:
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
    parts = Parts(*free_ports(3), tmp_path_factory.mktemp("demo"))
    environment = parts.environment()
    parts.prepare(lambda command: run(command, environment))
    running: list[subprocess.Popen] = []
    try:
        for program in parts.programs(faults=True):
            log = parts.var / f"{program.name.replace(' ', '-')}.log"
            process = start(program, environment, log)
            running.append(process)
            if program.ready:
                wait_until_ready(program.ready, process, log)
        yield Demo(parts, environment)
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
    trouble = watched(context)
    yield context.new_page()
    context.close()
    assert [text for text in trouble if "422" not in text] == []


def watched(context: BrowserContext) -> list[str]:
    """Errors of every page of a profile, also of windows that are opened later."""
    trouble: list[str] = []

    def watch(page: Page) -> None:
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))

    context.on("page", watch)
    return trouble
