"""Public pages: the start page, the policies, the documentation of the hooks. No script, no PHI, nothing personal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from cds_service.cds_hooks.services import SERVICES
from cds_service.errors import NotFound
from cds_service.policy.model import Guideline
from cds_service.policy.versions import by_guideline, deciding
from cds_service.web.call_note import NOTE

_CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "public, max-age=300"),
)


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """What the pages show."""

    payer: str
    guidelines: Sequence[Guideline]  # all versions
    view: Callable[[Guideline], object]  # what the template of a policy shows
    hooks_document: Path  # Markdown
    today: Callable[[], date]


def blueprint(pages: Pages) -> Blueprint:
    """The routes. A page is rendered once per process and day: it depends on the loaded configuration alone.

    A guideline's page shows the version in force; others have pages of their own.
    """
    routes = Blueprint(
        "pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )
    versions = {held[0].id: held for held in by_guideline(pages.guidelines)}
    by_version = {(guideline.id, guideline.version): guideline for guideline in pages.guidelines}

    @lru_cache(maxsize=1)
    def start_page(day: date) -> str:
        current = [deciding(held, day) for held in versions.values()]
        others = [guideline for guideline in pages.guidelines if guideline not in current]
        return render_template(
            "start.html", payer=pages.payer, guidelines=current, other_versions=others, services=SERVICES
        )

    @cache
    def policy_page(policy_id: str, version: str) -> str:
        return render_template("policy.html", page=pages.view(by_version[policy_id, version]), payer=pages.payer)

    @cache
    def hooks_page() -> str:
        return render_template("document.html", title="Hooks", payer=pages.payer, html=_as_html(pages.hooks_document))

    @routes.get("/")
    def start() -> Response:
        request.environ[NOTE].route = "/"
        return _html(start_page(pages.today()))

    @routes.get("/policies/<policy_id>")
    def policy(policy_id: str) -> Response:
        request.environ[NOTE].route = "/policies/{id}"
        if policy_id not in versions:
            raise NotFound("no such policy; the start page lists them")
        return _html(policy_page(policy_id, deciding(versions[policy_id], pages.today()).version))

    @routes.get("/policies/<policy_id>/<version>")
    def policy_version(policy_id: str, version: str) -> Response:
        request.environ[NOTE].route = "/policies/{id}"
        if (policy_id, version) not in by_version:
            raise NotFound("no such version of a policy; the start page lists them")
        return _html(policy_page(policy_id, version))

    @routes.get("/docs/hooks")
    def hooks() -> Response:
        request.environ[NOTE].route = "/docs/hooks"
        return _html(hooks_page())

    return routes


def _as_html(document: Path) -> str:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - 20 ms that a worker's start need not pay

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(document.read_text("utf-8")))


def _html(text: str) -> Response:
    answer = Response(text, content_type="text/html; charset=utf-8", headers=_HEADERS)
    answer.set_etag(sha256(text.encode()).hexdigest()[:32])
    return answer.make_conditional(request.environ)
