"""What stands before every page of the reviewers: who is it, may they, and did the form come from our own page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, g, redirect, request
from werkzeug.wrappers import Response

from cds_service.domain.payer import ReviewRules
from cds_service.domain.review import Person, Right, rights_of
from cds_service.errors import NotAllowed
from cds_service.web.call_note import NOTE
from cds_service.web.review.sessions import SESSION_COOKIE, Session, SessionKeeper, token_matches

MAX_FORM_BYTES: Final = 262_144
SIGN_IN_PATH: Final = "/review/sign-in"

_CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Referrer-Policy: with no-referrer a browser would send `Origin: null` with our own forms.
HEADERS: Final = (
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

View = Callable[..., Response | str]


class Guard:
    """Registers views that need a right."""

    def __init__(self, keeper: SessionKeeper, rules: ReviewRules, public_url: str) -> None:
        """``public_url`` decides which Origin is ours; never a request's Host."""
        self._keeper = keeper
        self._rules = rules
        self._origin = _origin(public_url)

    def page(self, routes: Blueprint, rule: str, right: Right, method: str = "GET") -> Callable[[View], View]:
        """Decorator: ``rule`` answers persons with ``right`` alone; a form must come from a page of their session."""

        def register(view: View) -> View:
            def guarded(**values: Any) -> Response | str:
                request.environ[NOTE].route = f"/review{rule}"
                session = self._session()
                if session is None:
                    return self._sign_in_first()
                g.review = session
                if method == "POST":
                    self.check_form(request.cookies.get(SESSION_COOKIE, ""))
                if not self.may(session.person, right):
                    raise NotAllowed("your role does not allow this")
                return view(**values)

            guarded.__name__ = view.__name__
            routes.add_url_rule(rule, endpoint=view.__name__, view_func=guarded, methods=[method])
            return view

        return register

    def may(self, person: Person, right: Right) -> bool:
        """Whether this person has the right."""
        return right in rights_of(person.role, self._rules)

    def check_form(self, secret: str) -> None:
        """Refuse a POST that is not from our own page. Raises NotAllowed (reliability 105)."""
        request.max_content_length = MAX_FORM_BYTES
        origin = request.headers.get("Origin")
        if origin is not None and origin != self._origin:
            raise NotAllowed("this form came from another site")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise NotAllowed("this form came from another site")
        if not token_matches(request.form.get("form_token", ""), secret):
            raise NotAllowed("this form is not of your session: go back, load the page again, and try once more")

    def _session(self) -> Session | None:
        return self._keeper.find(request.cookies.get(SESSION_COOKIE, ""))

    def _sign_in_first(self) -> Response:
        if request.method == "POST":
            raise NotAllowed("your session has ended; sign in again. What you typed was not saved")
        return redirect(f"{SIGN_IN_PATH}?{urlencode({'next': request.path})}", 303)


def _origin(url: str) -> str:
    """As a browser writes it: without the port that its scheme has anyway."""
    parts = urlsplit(url)
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}".lower()


def session_of_request() -> Session:
    """The session that the guard found."""
    found: Session = g.review
    return found
