"""``GET /determinations/{id}``: what was said, for authorized readers only; every access is written down.

An unknown id and an id that may not be read look the same, and a reader is known by the digest of a token that the
operator configured (cds-hooks-crd 192).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from flask import Blueprint, request
from werkzeug.wrappers import Response

from cds_service.errors import NotAuthenticated, NotFound
from cds_service.web.call_note import NOTE
from cds_service.web.outcomes import api

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class DeterminationReads(Protocol):
    """The part of the store that this page needs."""

    def determination(self, ident: str) -> bytes | None:
        """The document stored under this id."""
        ...

    def note_access(self, reader: str, action: str, record: str, at: datetime) -> None:
        """Write down who asked for what."""
        ...


class Now(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        ...


def blueprint(store: DeterminationReads, clock: Now, readers: Mapping[str, str]) -> Blueprint:
    """The route. ``readers`` is reader name by SHA-256 of the reader's token, in hexadecimal."""
    routes = Blueprint("determinations", __name__)

    @routes.get("/determinations/<ident>")
    def determination(ident: str) -> Response:
        request.environ[NOTE].route = "/determinations/{id}"
        reader = _reader(request.headers.get("Authorization", ""), readers)
        document = store.determination(ident) if _ID.fullmatch(ident) else None
        if _ID.fullmatch(ident):  # other text is not written down: it is no id of ours and might be about a patient
            store.note_access(reader, "read" if document is not None else "read_unknown", ident, clock.now())
        if document is None:
            raise NotFound("no such determination")
        return api(document)

    return routes


def _reader(authorization: str, readers: Mapping[str, str]) -> str:
    scheme, _, token = authorization.partition(" ")
    digest = sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    found = ""
    for known, name in readers.items():  # all are compared, so that time tells nothing
        if hmac.compare_digest(digest, known):
            found = name
    if scheme.lower() != "bearer" or not found:
        raise NotAuthenticated("reader_token")
    return found
