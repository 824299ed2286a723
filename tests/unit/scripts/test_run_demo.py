"""What ``make run`` says when it cannot start, or when one of its programs ends."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cds_service import settings as service_settings
from scripts import run_demo
from scripts.demo_parts import Demo
from smart_app import settings as app_settings


def _taken() -> socket.socket:
    """A port that somebody listens at, far enough from the last one that there is a next one."""
    passed: list[socket.socket] = []  # held meanwhile, so that none is offered twice
    while True:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        if listener.getsockname()[1] <= 65_000:
            break
        passed.append(listener)
    for each in passed:
        each.close()
    listener.listen()
    return listener


def test_the_way_out_of_a_taken_port_is_free_and_not_the_other_programs() -> None:
    with _taken() as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ValueError, match=f"Port {port} is taken") as first:
            run_demo.check_free(port, "CDS_PORT", but={port + 1})
        advised = int(re.findall(r"CDS_PORT=(\d+)", str(first.value))[0])
        assert advised > port + 1
        assert not run_demo.listens(advised)


def test_both_on_one_port_are_refused_before_anything_starts() -> None:
    with _taken() as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ValueError, match="SANDBOX_PORT="):
        run_demo.check_free(port, "SANDBOX_PORT", but={port})


def test_a_program_that_ends_by_itself_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert run_demo.ended([process])
    assert "ended; see var/" in capsys.readouterr().err


def test_the_commands_of_another_terminal_find_the_programs_by_the_settings_file(tmp_path: Path) -> None:
    demo = Demo(8501, 8591, 8581, tmp_path / "a folder's var")
    path = tmp_path / "demo.env"
    path.write_text(demo.settings_file(demo.environment({"HOME": "/root", "CDS_LOG_LEVEL": "debug"})), "utf-8")
    shown = subprocess.run(
        ["bash", "-c", '. "$0" && env -0', path], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    ).stdout.decode()
    environment = dict(line.split("=", 1) for line in shown.split("\0") if line)
    assert "HOME" not in path.read_text("utf-8")
    service, app = service_settings.from_env(environment), app_settings.from_env(environment)
    assert (service.public_url, service.log_level) == (demo.cds, "debug")
    assert service.payer_endpoints_dir == demo.var / "payer_endpoints"
    assert (app.public_url, app.insecure_dev, app.config_dir) == (demo.app, True, demo.var / "app")
