"""What ``make run`` says when it cannot start, or when one of its programs ends."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from scripts import run_demo


def _taken() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_the_way_out_of_a_taken_port_is_free_and_not_the_other_programs() -> None:
    with _taken() as listener:
        port = listener.getsockname()[1]
        if port > 65_000:
            pytest.skip("too near to the last port")
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
