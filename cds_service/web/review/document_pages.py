"""A document of a request, handed to the reviewer's browser so that it can do nothing there but be looked at.

It comes from our own origin, where the session is: so it gets the type that we found, is never guessed at, runs no
script, loads nothing, and stands in an origin of its own (reliability 109).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from flask import Blueprint
from werkzeug.wrappers import Response

from cds_service.domain.review import Right
from cds_service.use_cases.review_case import ReviewCase
from cds_service.web.review.guard import Guard, session_of_request

_CSP: Final = "default-src 'none'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_ADDRESS: Final = "/cases/<case_id>/versions/<int(max=99999):n>/documents/<int(max=99999):place>/<int(max=99999):part>"
_LONGEST: Final = 80
_NOT_IN_A_NAME: Final = re.compile(r"[^\w.()-]+")
_ENDING: Final = re.compile(r"\.\w{1,5}$")


def add_documents(routes: Blueprint, guard: Guard, cases: ReviewCase) -> None:
    """Add the route to the blueprint of the workplace."""

    @guard.page(routes, _ADDRESS, Right.READ_CASES)
    def document(case_id: str, n: int, place: int, part: int) -> Response:
        found, file = cases.document(case_id, n, place, part, session_of_request().person)
        answer = Response(file.content, content_type=file.media_type)
        answer.headers["Content-Disposition"] = disposition(found.files[part].title, file.ending, inline=file.inline)
        answer.headers["Content-Security-Policy"] = _CSP
        return answer


def disposition(title: str, ending: str, *, inline: bool) -> str:
    """How the browser takes it, and what a saved file is called: the title, its ending by what the file is."""
    name = _NOT_IN_A_NAME.sub(" ", _ENDING.sub("", title.strip()))[:_LONGEST].strip(" .") or "document"
    plain = name.encode("ascii", "ignore").decode().strip() or "document"
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}{ending}\"; filename*=UTF-8''{quote(name + ending)}"
