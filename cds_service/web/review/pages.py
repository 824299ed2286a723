"""What every page of the reviewers has in common: rendering, words, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import nh3
from flask import g, render_template, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from cds_service.domain.payer import ReviewRules
from cds_service.domain.review import ROLE_WORDS, rights_of
from cds_service.errors import CdsServiceError, NotAllowed, NotAuthenticated, NotFound
from cds_service.use_cases import review_words as words
from cds_service.web.call_note import NOTE, REQUEST_ID
from cds_service.web.outcomes import status_of

# The XHTML that FHIR allows in a narrative, without what could load or hide something.
_TAGS: Final = {
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "div", "dl", "dt", "em", "h1",
    "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "q", "small", "span", "strong", "sub", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var",
}  # fmt: skip
_ATTRIBUTES: Final = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan", "scope"}}
_MAX_NARRATIVE: Final = 200_000


def sanitised(xhtml: str) -> Markup:
    """A narrative that somebody else wrote, with nothing left that acts, loads, links or styles (reliability 109)."""
    if len(xhtml) > _MAX_NARRATIVE:
        return Markup("<p>The text is longer than this page shows.</p>")
    return Markup(nh3.clean(xhtml, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=set()))  # noqa: S704 - cleaned


class Renderer:
    """Fills templates with what all of them show."""

    def __init__(self, payer: str, rules: ReviewRules) -> None:
        """``payer`` is the payer's label."""
        self._payer = payer
        self._rules = rules

    def page(self, template: str, here: str = "", status: int = 200, **values: Any) -> Response:
        """A page; who is signed in comes from the guard."""
        session = g.get("review")
        rights = {right.value for right in rights_of(session.person.role, self._rules)} if session else set()
        text = render_template(
            f"review/{template}.html", session=session, rights=rights, here=here, **self.common(), **values
        )
        return Response(text, status, content_type="text/html; charset=utf-8")

    def common(self) -> Mapping[str, Any]:
        """Names of every template."""
        return {
            "payer": self._payer,
            "role_words": ROLE_WORDS,
            "state_words": {state.value: text for state, text in words.STATE_WORDS.items()},
            "action_words": words.ACTION_WORDS,
            "program_words": words.PROGRAM_WORDS,
            "request_words": words.REQUEST_WORDS,
            "status_words": words.STATUS_WORDS,
            "form_words": words.FORM_WORDS,
        }

    def refused(self, error: CdsServiceError) -> Response:
        """An error of ours as a page. Its texts never repeat input."""
        note = request.environ[NOTE]
        status = status_of(error)
        note.outcome = "refused" if status < 500 else "technical"
        note.reason = error.reason if isinstance(error, NotAuthenticated) else type(error).__name__.lower()
        titles: dict[type[CdsServiceError], str] = {
            NotAllowed: "This is not allowed",
            NotFound: "There is no such page",
            NotAuthenticated: "You are not signed in",
        }
        title = next((text for kind, text in titles.items() if isinstance(error, kind)), "This did not work")
        text = "The sign-in was not accepted; please start again." if status == 401 else error.diagnostics
        return self._trouble(title, f"{text[:1].upper()}{text[1:]}.".replace("..", "."), status)

    def http(self, error: HTTPException) -> Response:
        """An error of routing or reading."""
        status = error.code or 500
        texts = {413: "The form is larger than this page takes.", 405: "This page cannot be used that way."}
        return self._trouble("This did not work", texts.get(status, "The request was not understood."), status)

    def failed(self, note_failure: Callable[[str], None]) -> Response:
        """A failure of ours: its number is in the log."""
        number = request.environ[REQUEST_ID]
        note_failure(number)
        return self._trouble("Something failed on our side", f"Its number in the log is {number}.", 500)

    def _trouble(self, title: str, text: str, status: int) -> Response:
        signed_in = g.get("review") is not None
        back, back_words = ("/review", "Back to the queue") if signed_in else ("/review/sign-in", "Sign in")
        return self.page("trouble", status=status, title=title, text=text, back=back, back_words=back_words)
