"""What protects every page: whose launch it is, CSRF, origin, headers (SM-27, SM-46, SM-47; rows 104 to 109)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, request

from smart_app.errors import Trouble
from smart_app.web.parts import parts

View = TypeVar("View", bound=Callable[..., Any])

_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; report-uri /csp-report; frame-ancestors "
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def install(app: Flask) -> None:
    """Protect every page of ``app``."""
    app.before_request(_refuse_foreign_pages)
    app.after_request(_add_headers)
    app.url_value_preprocessor(_take_launch_id)
    app.url_defaults(_fill_launch_id)
    app.context_processor(lambda: {"csrf_token": csrf_token})


def no_browser(view: View) -> View:
    """Mark a view that other programs call: it sees no cookie, so neither origin nor CSRF token is asked of it."""
    view.no_browser = True  # type: ignore[attr-defined]
    return view


def launch_required(view: View) -> View:
    """A page of one open launch (``/l/<launch_id>/...``): sets ``g.launch`` and ``g.ehr``; the view gets no launch_id.

    Raises:
        Trouble: ``session_ended`` for everybody who does not hold this launch's own cookie; ``not_from_here`` for a
            writing request without this launch's own CSRF token.
    """

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("launch_id", None)
        open_launch(g.launch_id)
        if request.method in _WRITING:
            _check_csrf()
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def open_launch(launch_id: str) -> None:
    """Put the launch of this browser into ``g``. Raises Trouble ``session_ended``."""
    launches = parts().launches
    g.frame_ehr = launches.ehr_of(launch_id)
    secret = parts().cookies.secret(request, launch_id)
    g.launch = launches.find(launch_id, secret)
    g.csrf_secret = secret
    g.ehr = launches.client(g.launch)


def csrf_token() -> str:
    """What forms of this launch's pages carry; nobody can make it who does not see the page (row 105)."""
    secret, launch_id = g.get("csrf_secret", ""), g.get("launch_id", "")
    if not secret:
        return ""
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), f"csrf/{launch_id}".encode(), "sha256")).decode()


def _check_csrf() -> None:
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    if not hmac.compare_digest(given.encode(), csrf_token().encode()):
        raise Trouble("not_from_here", "csrf_token")


def _refuse_foreign_pages() -> None:
    """No other site may send forms with a visitor's cookies.

    Our own forms come with ``Origin: null``, because our pages send no referrer; then ``Sec-Fetch-Site`` tells.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    if request.method not in _WRITING or getattr(view, "no_browser", False):
        return
    origin = request.headers.get("Origin", "null")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    own = parts().settings.public_url
    if origin not in {own, "null"} or site not in {"same-origin", "none"}:
        raise Trouble("not_from_here", "foreign_origin")


def _take_launch_id(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values and "launch_id" in values:
        g.launch_id = values["launch_id"]


def _fill_launch_id(endpoint: str, values: dict[str, Any]) -> None:
    """Links between pages of one launch need not name it."""
    if (
        "launch_id" not in values
        and "launch_id" in g
        and current_app.url_map.is_endpoint_expecting(endpoint, "launch_id")
    ):
        values["launch_id"] = g.launch_id


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Content-Security-Policy"] = _POLICY + (" ".join(_frame_origins(response)) or "'none'")
    if request.endpoint != "static" and "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    if parts().settings.over_tls:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def _frame_origins(response: Response) -> tuple[str, ...]:
    """Who may frame this answer: the EHR of its launch; a page of no launch that holds nothing, any registered one."""
    if response.mimetype != "text/html":
        return ()
    ehr = g.get("frame_ehr")
    if ehr is not None:
        return tuple(ehr.frame_origins)
    return parts().registry.frame_origins() if g.get("frame_any") else ()
