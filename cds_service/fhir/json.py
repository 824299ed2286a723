"""The one parser for FHIR input: exact decimals, and nothing that two readers could read differently.

Python's own parser keeps the last of two equal keys and takes NaN; binary floats turn 15.00000000000000001 into 15.
Each check is done fast first, on the bytes, and confirmed slowly only where the fast form cannot tell.
"""

from __future__ import annotations

import json as standard_json
import re
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.errors import MalformedRequest, TooLarge

MAX_DEPTH = 64
MAX_DIGITS = 400  # longer than any finite double written out
MAX_EXPONENT = 308  # of a double: what lies beyond is out of range for every other reader

_STRIDE = 40
_DIGIT_RUN = re.compile(rb"[0-9]{%d}" % (MAX_EXPONENT // _STRIDE))
_TOO_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % (MAX_EXPONENT + 2))
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NOT_BRACKETS = bytes(octet for octet in range(256) if octet not in b"{}[]")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")  # a pair of two kinds is no JSON, which the decoder will say
_TOO_DEEP = b"[" * (MAX_DEPTH + 1)


def _number(token: str) -> Decimal:
    value = Decimal(token) if len(token) <= MAX_DIGITS else None
    if value is None or not -MAX_EXPONENT <= value.adjusted() <= MAX_EXPONENT:
        raise MalformedRequest("a number is out of range")
    return value


_DECODER = msgspec.json.Decoder(float_hook=_number)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


def parse(body: bytes, *, max_bytes: int) -> Any:
    """Read one JSON text; numbers with a fraction or exponent become Decimal, others int.

    Raises TooLarge above ``max_bytes`` and MalformedRequest for anything that is not UTF-8 JSON with unique keys,
    finite numbers, at most 64 levels and no NUL (reliability 1.3 rows 43-49).
    """
    if len(body) > max_bytes:
        raise TooLarge("the body is larger than this service reads")
    _check_depth(body)
    _check_digits(body)
    try:
        value = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(_complaint(error)) from None
    _check_keys(body, value)
    return value


def members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of one JSON object with their text untouched, so that 1.20 stays 1.20 when it is written again.

    ``raw`` must have passed ``parse``: keys are not checked again. Raises MalformedRequest if it is no object.
    """
    try:
        return _MEMBERS.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedRequest("a JSON object is expected") from None


class _Entry(msgspec.Struct, frozen=True):
    resource: msgspec.Raw = msgspec.Raw(b"null")


class _Orders(msgspec.Struct, frozen=True):
    entry: tuple[_Entry, ...] = ()


class _Context(msgspec.Struct, frozen=True):
    draftOrders: _Orders = _Orders()  # noqa: N815 - the wire's own name


class _Request(msgspec.Struct, frozen=True):
    context: _Context = _Context()


_ORDERS = msgspec.json.Decoder(_Request)


def draft_texts(body: bytes) -> tuple[bytes, ...]:
    """The text of each ``context.draftOrders.entry[].resource`` as the client wrote it, in order.

    ``body`` must have passed ``parse`` and the request's own checks; an entry without resource gives ``null``.
    """
    try:
        request = _ORDERS.decode(body)
    except msgspec.MsgspecError:
        raise MalformedRequest("a Bundle is expected", expression="context.draftOrders") from None
    return tuple(bytes(entry.resource) for entry in request.context.draftOrders.entry)


def _check_depth(body: bytes) -> None:
    """Refuse more than MAX_DEPTH levels before anything recursive reads them."""
    if not _left_over(body.translate(_ONE_KIND, _NOT_BRACKETS)):
        return
    # Brackets inside strings count above; only the text outside strings can tell.
    left = _left_over(_STRING.sub(b"", body).translate(_ONE_KIND, _NOT_BRACKETS))
    if b"[]" in left or _TOO_DEEP in left:
        raise MalformedRequest(f"nested deeper than {MAX_DEPTH} levels")
    if left:  # a bracket without its other half: a text that was cut off
        raise MalformedRequest("the body is not JSON")


def _left_over(brackets: bytes) -> bytes:
    """What is left after MAX_DEPTH rounds of taking out innermost pairs: nothing, where all is closed and shallow."""
    for _ in range(MAX_DEPTH):
        if not brackets or _TOO_DEEP in brackets:  # a million of them need not be taken out in pairs
            break
        brackets = brackets.replace(b"[]", b"")
    return brackets


def _check_digits(body: bytes) -> None:
    """Refuse integers beyond a double's range: every 40th octet shows whether a run of digits that long is there."""
    if _DIGIT_RUN.search(body[::_STRIDE]) and _TOO_MANY_DIGITS.search(_STRING.sub(b"", body)):
        raise MalformedRequest("a number is out of range")


def _check_keys(body: bytes, value: Any) -> None:
    """Refuse equal keys in one object, and NUL in strings.

    A dropped key takes its colon along, so writing the value again gives fewer colons than came in. Only an escaped
    colon could hide that; texts with one are read a second time.
    """
    if b"\\" in body:
        if b"\\u0000" in body and _NUL.search(body):
            raise MalformedRequest("a string holds a NUL")
        if b"\\u003" in body:
            _check_keys_slowly(body)
    try:
        again = _ENCODER.encode(value)
    except OverflowError:
        raise MalformedRequest("a number is out of range") from None
    if body.count(b":") != again.count(b":"):
        _check_keys_slowly(body)


def _check_keys_slowly(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise MalformedRequest("an object holds the same key twice")

    standard_json.loads(body, object_pairs_hook=unique, parse_float=str, parse_int=str)


def _complaint(error: Exception) -> str:
    """What was wrong, without a word of the input."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    if "out of range" in text:
        return "a number is out of range"
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    return "the body is not JSON"
