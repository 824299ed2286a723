"""Is an HTTP/1.1 request complete? Decided on buffered bytes, before a thread is spent on it (reliability 61).

It does not validate: whatever looks odd is handed over at once, and gunicorn's own parser refuses it.
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec

MAX_HEAD = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r\n]*)")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,256})?\Z")


class Verdict(Enum):
    """What to do with a connection."""

    MORE = "more"  # wait for more bytes
    WHOLE = "whole"  # the request is complete
    UNREAD = "unread"  # let the parser or the application refuse it without reading on; then close
    HEAD_TOO_LONG = "head_too_long"


class Frame(msgspec.Struct):
    """Where the request in a buffer begins and ends, as far as it is known."""

    body_at: int = -1
    end: int = -1
    chunk_at: int = -1
    decoded: int = 0
    expects_continue: bool = False


def judge(data: bytearray, frame: Frame, max_body: int) -> Verdict:
    """Whether ``data`` holds a whole request; called again with the same ``frame`` as bytes come in."""
    if frame.body_at < 0:
        verdict = _read_head(data, frame, max_body)
        if verdict is not None:
            return verdict
    if frame.chunk_at >= 0:
        return _follow_chunks(data, frame, max_body)
    return Verdict.WHOLE if len(data) >= frame.end else Verdict.MORE


def _read_head(data: bytearray, frame: Frame, max_body: int) -> Verdict | None:
    end = data.find(b"\r\n\r\n")
    if end < 0 or end > MAX_HEAD:
        return Verdict.HEAD_TOO_LONG if len(data) > MAX_HEAD else Verdict.MORE
    head = bytes(data[: end + 2]).lower()
    frame.body_at = end + 4
    lengths = _LENGTH.findall(head)
    if b"\r\ntransfer-encoding" in head:
        frame.chunk_at = frame.body_at
        frame.expects_continue = b"\r\nexpect:" in head
        return Verdict.UNREAD if lengths else None
    if not lengths:
        return Verdict.WHOLE
    length = lengths[0].strip()
    if len(lengths) > 1 or not length.isdigit() or len(length) > 12 or int(length) > max_body:
        return Verdict.UNREAD
    frame.end = frame.body_at + int(length)
    frame.expects_continue = b"\r\nexpect:" in head
    return None


def _follow_chunks(data: bytearray, frame: Frame, max_body: int) -> Verdict:
    while True:
        line_end = data.find(b"\r\n", frame.chunk_at, frame.chunk_at + 300)
        if line_end < 0:
            return Verdict.UNREAD if len(data) - frame.chunk_at >= 300 else Verdict.MORE
        found = _CHUNK_SIZE.match(bytes(data[frame.chunk_at : line_end]))
        if found is None:
            return Verdict.UNREAD
        size = int(found[1], 16)
        if size == 0:
            return _after_last_chunk(data, line_end)
        body_at = line_end + 2
        if len(data) < body_at + size + 2:
            too_large = frame.decoded + len(data) - body_at > max_body
            return Verdict.UNREAD if too_large else Verdict.MORE
        frame.decoded += size
        frame.chunk_at = body_at + size + 2
        if frame.decoded > max_body:
            return Verdict.UNREAD


def _after_last_chunk(data: bytearray, line_end: int) -> Verdict:
    if data.find(b"\r\n\r\n", line_end) >= 0:
        return Verdict.WHOLE
    return Verdict.UNREAD if len(data) - line_end > MAX_HEAD else Verdict.MORE
