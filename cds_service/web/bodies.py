"""Reading request bodies: media type, size, no compression (reliability 41-44)."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import UnsupportedMediaType

from cds_service.errors import TooLarge

MEDIA_TYPES = frozenset({"application/json", "application/fhir+json"})


def read_json_body(environ: WSGIEnvironment, max_bytes: int) -> bytes:
    """Body of a request, with or without Content-Length; at most ``max_bytes`` and one byte are read.

    Raises UnsupportedMediaType for another media type, another charset than UTF-8, or any compression, and TooLarge.
    """
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type != "application/json":
        _check_media_type(content_type)
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in {"identity", ""}:
        raise UnsupportedMediaType
    length = environ.get("CONTENT_LENGTH")
    declared = int(length) if length and length.isdigit() else None
    if declared is not None and declared > max_bytes:
        raise _too_large(max_bytes)
    body: bytes = environ["wsgi.input"].read(max_bytes + 1 if declared is None else declared)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _check_media_type(content_type: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaType
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than the {max_bytes} bytes allowed")
