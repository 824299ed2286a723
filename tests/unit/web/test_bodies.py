"""Media types, sizes and codings of request bodies (reliability 41-44)."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from werkzeug.exceptions import UnsupportedMediaType

from cds_service.errors import TooLarge
from cds_service.web.bodies import read_json_body


class Counting(io.BytesIO):
    """Knows how many bytes were asked of it."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def environ(body: bytes = b"{}", **values: Any) -> dict[str, Any]:
    made = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": Counting(body)}
    return {name: value for name, value in (made | values).items() if value is not None}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/fhir+json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/fhir+json; fhirVersion=4.0",  # FHIR's own parameter
    ],
)
def test_bad_input_42_json_media_types_are_read(content_type: str) -> None:
    assert read_json_body(environ(CONTENT_TYPE=content_type), 100) == b"{}"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "", None, "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/xml"],
)
def test_bad_input_41_other_media_types_are_refused_unread(content_type: str | None) -> None:
    values = environ(CONTENT_TYPE=content_type)
    with pytest.raises(UnsupportedMediaType):
        read_json_body(values, 100)
    assert values["wsgi.input"].taken == 0


def test_bad_input_43_declared_length_over_the_limit_is_refused_unread() -> None:
    values = environ(b"x" * 101)
    with pytest.raises(TooLarge):
        read_json_body(values, 100)
    assert values["wsgi.input"].taken == 0


def test_bad_input_43_chunked_body_over_the_limit_is_read_to_the_limit_only() -> None:
    values = environ(b"x" * 1_000, CONTENT_LENGTH=None)
    with pytest.raises(TooLarge):
        read_json_body(values, 100)
    assert values["wsgi.input"].taken == 101


def test_bad_input_43_at_the_limit_is_read() -> None:
    assert len(read_json_body(environ(b"x" * 100), 100)) == 100
    assert len(read_json_body(environ(b"x" * 100, CONTENT_LENGTH=None), 100)) == 100


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "identity, gzip"])
def test_bad_input_44_compressed_body_is_refused_not_inflated(coding: str) -> None:
    values = environ(gzip.compress(b"0" * 1_000_000), HTTP_CONTENT_ENCODING=coding)
    with pytest.raises(UnsupportedMediaType):
        read_json_body(values, 5_000_000)
    assert values["wsgi.input"].taken == 0


def test_bad_input_44_identity_is_no_compression() -> None:
    assert read_json_body(environ(HTTP_CONTENT_ENCODING="identity"), 100) == b"{}"
