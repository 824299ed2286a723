"""Rows 39, 41-44 and 59-61 over real sockets, and the drain (F26), shedding (F30) of the running server."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import until
from tests.support.web_server import Server, read_all, request, running

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = b"POST /cds-services/order-sign HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Who waits for a peer here, be it for its bytes or for its close, waits for longer than any test may run."""
    with running(max_body_bytes=200_000, threads=4, receive_seconds=120, linger_seconds=600) as started:
        yield started


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    """The same, but it waits for a request's bytes no longer than it must."""
    with running(max_body_bytes=200_000, threads=4, receive_seconds=1) as started:
        yield started


def status(answer: bytes) -> int:
    return int(answer[9:12])


def outcome(answer: bytes) -> str:
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert document["resourceType"] == "OperationOutcome"
    return str(document["issue"][0]["code"])


def chunked(body: bytes, size: int = 1000) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def held(directory: Path) -> bytes:
    """A call that, once begun, leaves a file there and is answered when there is a ``go`` among them."""
    return request(b'{"held":"%s"}' % str(directory).encode())


def begun(directory: Path) -> int:
    """How many of those calls were begun."""
    return len([each for each in directory.iterdir() if each.name != "go"])


def answers(server: Server) -> bool:
    """Whether a call is answered; the kernel may hand its connection to a worker that is dead."""
    try:
        return server.exchange(request()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class TestBodies:
    def test_bad_input_43_body_at_the_limit_and_over_it(self, server: Server) -> None:
        assert b'"length":200000' in server.exchange(request(b"x" * 200_000))
        refused = server.exchange(request(b"x" * 200_001))
        assert (status(refused), outcome(refused)) == (413, "too-long")

    def test_bad_input_43_over_the_limit_is_refused_before_the_body_comes(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(HEAD + JSON + b"Content-Length: 5000000000\r\n\r\n")
            assert status(read_all(connection)) == 413

    def test_P009_the_body_of_a_request_for_authorization_may_be_larger(self, impatient: Server) -> None:
        # Nothing answers at these paths here: what is too large is refused at once, what is not is waited for.
        for path, said in ((b"/other", 404), (b"/pas/2.2/none", 408)):
            head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + JSON + b"Content-Length: 300000\r\n\r\n"
            assert status(impatient.exchange(head + b"half of it")) == said

    def test_bad_input_43_chunked(self, server: Server) -> None:
        head = HEAD + JSON + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b'"length":200000' in server.exchange(head + chunked(b"x" * 200_000))
        refused = server.exchange(head + chunked(b"x" * 300_000))
        assert (status(refused), outcome(refused)) == (413, "too-long")

    def test_bad_input_43_endless_chunk_is_not_read_to_its_end(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n" + b"x" * 210_000)
            assert status(read_all(connection)) == 413

    @pytest.mark.parametrize("piece", [1, 7, 4096])
    def test_requests_in_pieces_are_put_together(self, server: Server, piece: int) -> None:
        data = request(b'{"in":"pieces"}') if piece == 1 else request(b"x" * 20_000)
        with server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(data), piece):
                connection.send(data[at : at + piece])
            assert status(read_all(connection)) == 200

    def test_bad_input_41_44_media_type_and_compression(self, server: Server) -> None:
        plain = HEAD + b"Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        assert (status(server.exchange(plain)), outcome(server.exchange(plain))) == (415, "not-supported")
        bomb = gzip.compress(b"0" * 10_000_000)
        packed = HEAD + JSON + b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        assert status(server.exchange(packed + bomb)) == 415

    def test_expect_continue_is_answered(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(HEAD + JSON + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
            connection.sendall(b"{}")
            assert b"HTTP/1.1 200" in read_all(connection)


MALFORMED = [
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",  # two lengths: a smuggler's
    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"Content-Length: -2\r\n\r\n{}",
    b"Content-Length: 2 2\r\n\r\n{}",
    b"Content-Type: application/json\r\n folded\r\nContent-Length: 2\r\n\r\n{}",  # obsolete folding
    b"Content-Length : 2\r\n\r\n{}",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"Canary Family: 1\r\nContent-Length: 2\r\n\r\n{}",
]


class TestFraming:
    @pytest.mark.parametrize("rest", MALFORMED, ids=range(len(MALFORMED)))
    def test_bad_input_60_malformed_requests_are_refused_and_the_connection_closed(
        self, server: Server, rest: bytes
    ) -> None:
        answer = server.exchange(HEAD + rest)
        assert status(answer) in {400, 415}
        assert outcome(answer) in {"structure", "not-supported"}
        assert b"Canary" not in answer

    def test_bad_input_60_header_with_underscore_does_not_pass_for_one_with_hyphen(self, server: Server) -> None:
        spoofed = request(more=("X_Request_Id: 6f1ed002-ab23-4b0e-8d4e-0123456789ab",))
        assert b"6f1ed002" not in server.exchange(spoofed)

    def test_bad_input_39_huge_headers_are_refused_by_the_server(self, server: Server) -> None:
        for extra in (
            b"X-Long: " + b"a" * 20_000 + b"\r\n",
            b"".join(b"X-%d: a\r\n" % number for number in range(150)),
            b"Authorization: Bearer " + b"a" * 4_000_000 + b"\r\n",
        ):
            try:
                answer = server.exchange(HEAD + extra + JSON + b"Content-Length: 2\r\n\r\n{}")
            except ConnectionError:  # closed while we were still sending: also a refusal
                continue
            assert status(answer) in {400, 431}
            assert outcome(answer) in {"structure", "too-long"}

    def test_bad_input_59_unknown_methods(self, server: Server) -> None:
        for method in (b"GET", b"DELETE", b"TRACE", b"BREW"):
            answer = server.exchange(
                method + b" /cds-services/order-sign HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            assert status(answer) == 405

    def test_kept_connection_answers_again_and_pipelined_requests_in_order(self, server: Server) -> None:
        first, second = request(b"x" * 11, close=False), request(b"x" * 12)
        answer = server.exchange(first + second)
        assert answer.index(b'"length":11') < answer.index(b'"length":12')
        with server.connect() as connection:
            for length in (5, 6):
                connection.sendall(request(b"x" * length, close=False))
                received = b""
                while not received.endswith(b'"length":%d}' % length):  # silence is a TimeoutError
                    received += connection.recv(4096)


class TestStalls:
    def test_bad_input_61_200_stalled_senders_do_not_keep_others_waiting(self, server: Server) -> None:
        with ExitStack() as stack:
            for number in range(200):
                connection = stack.enter_context(server.connect())
                connection.sendall(HEAD + JSON + (b"Content-Length: 100\r\n\r\n{" if number % 2 else b""))
            for data in (LIVEZ, request()):
                assert status(server.exchange(data)) == 200

    def test_stalled_sender_is_told_and_dropped_in_time(self, impatient: Server) -> None:
        with impatient.connect() as connection:
            connection.sendall(HEAD + JSON + b"Content-Length: 100\r\n\r\n{")
            assert status(read_all(connection)) == 408

    def test_peers_that_never_close_do_not_hold_up_the_others(self, server: Server) -> None:
        with ExitStack() as stack:
            for _ in range(20):  # each asks for a close, then does not close itself
                connection = stack.enter_context(server.connect())
                connection.sendall(request())
            assert status(server.exchange(request())) == 200


class TestLoad:
    def test_fault_f30_what_waits_too_long_is_shed_quickly_and_accepted_calls_are_answered(
        self, tmp_path: Path
    ) -> None:
        with running(threads=1, queue_seconds=0.2) as small, ThreadPoolExecutor(1) as pool, ExitStack() as stack:
            accepted = pool.submit(small.exchange, held(tmp_path))
            until(lambda: begun(tmp_path) == 1)
            queued = [stack.enter_context(small.connect()) for _ in range(5)]
            for connection in queued:
                connection.sendall(held(tmp_path))
            # Connections are taken in order, and this one is answered without a thread: the five are in the queue.
            assert status(small.exchange(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 200_000)) == 431
            time.sleep(0.4)  # longer than anybody may wait in it
            (tmp_path / "go").touch()
            assert status(accepted.result()) == 200
            assert [status(read_all(connection)) for connection in queued] == [503] * 5
            assert begun(tmp_path) == 1
            assert status(small.exchange(request())) == 200  # it recovers

    def test_fault_f26_sigterm_answers_running_calls_and_ends_soon(self, tmp_path: Path) -> None:
        # Were the connection that says nothing waited for, the end would come after five minutes.
        with (
            running(threads=4, drain_seconds=300, receive_seconds=120) as stopping,
            ThreadPoolExecutor(4) as pool,
            stopping.connect() as idle,
        ):
            calls = [pool.submit(stopping.exchange, held(tmp_path)) for _ in range(4)]
            until(lambda: begun(tmp_path) == 4)
            stopping.process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # closed by the server, which now knows; the four calls still run
            (tmp_path / "go").touch()
            assert [status(call.result()) for call in calls] == [200, 200, 200, 200]
            assert stopping.process.wait(60) == 0

    def test_fault_f25_killed_worker_is_replaced_and_the_next_calls_are_answered(self) -> None:
        with running(threads=2) as server:
            for _ in range(2):
                [worker] = psutil.Process(server.process.pid).children()
                worker.kill()
                until(lambda: answers(server))
                assert status(server.exchange(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 200

    @pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
    def test_signal_to_the_whole_group_ends_cleanly(self, with_signal: signal.Signals) -> None:
        with running(workers=2) as server:  # Ctrl-C in a terminal reaches master and workers together
            until(lambda: len(psutil.Process(server.process.pid).children()) == 2)
            time.sleep(1)  # a worker that was forked this instant still has its parent's handlers, and misses a signal
            for worker in psutil.Process(server.process.pid).children():
                worker.send_signal(with_signal)
            server.process.send_signal(with_signal)
            assert server.process.wait(60) == 0  # whoever missed it is ended when the drain time is over
