"""Whether buffered bytes are a whole request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.web.framing import MAX_HEAD, Frame, Verdict, judge

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


def verdict(data: bytes, most: int = 100) -> Verdict:
    return judge(bytearray(data), Frame(), most)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", Verdict.MORE),
        (HEAD, Verdict.MORE),
        (HEAD + b"\r\n", Verdict.WHOLE),  # no body
        (HEAD + b"Content-Length: 2\r\n\r\n{", Verdict.MORE),
        (HEAD + b"Content-Length: 2\r\n\r\n{}", Verdict.WHOLE),
        (HEAD + b"content-LENGTH:2\r\n\r\n{}", Verdict.WHOLE),
        (HEAD + b"Content-Length: 100\r\n\r\n", Verdict.MORE),
        (HEAD + b"Content-Length: 101\r\n\r\n", Verdict.UNREAD),  # over the limit: not waited for
        (HEAD + b"Content-Length: two\r\n\r\n", Verdict.UNREAD),
        (HEAD + b"Content-Length: \xb2\r\n\r\n", Verdict.UNREAD),
        (HEAD + b"Content-Length: 99999999999999\r\n\r\n", Verdict.UNREAD),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", Verdict.UNREAD),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Verdict.UNREAD),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", Verdict.MORE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", Verdict.MORE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Verdict.WHOLE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nT: x\r\n\r\n", Verdict.WHOLE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, Verdict.UNREAD),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n32\r\n" + b"x" * 50 + b"\r\n33\r\n" + b"x" * 51, Verdict.UNREAD),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}", Verdict.UNREAD),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n", Verdict.MORE),  # looks like an end inside a chunk
        (HEAD + b"X: " + b"a" * MAX_HEAD, Verdict.HEAD_TOO_LONG),
    ],
)
def test_bad_input_61_whole_or_not(data: bytes, expected: Verdict) -> None:
    assert verdict(data) is expected


@given(body=st.binary(max_size=80), cuts=st.lists(st.integers(0, 200), max_size=6), chunk=st.integers(1, 30))
def test_pieces_give_the_same_verdict_as_the_whole(body: bytes, cuts: list[int], chunk: int) -> None:
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + chunk]), body[at : at + chunk]) for at in range(0, len(body), chunk)
    )
    for whole in (
        HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
    ):
        frame, received, at = Frame(), bytearray(), 0
        for cut in [*sorted(cuts), len(whole) - 1]:
            received += whole[at : max(at, min(cut, len(whole) - 1))]
            at = max(at, min(cut, len(whole) - 1))
            assert judge(received, frame, 100) is Verdict.MORE
        received += whole[at:]
        assert judge(received, frame, 100) is Verdict.WHOLE
