"""Who is at the keyboard: the prescriber, or whom the browser was told on any page."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, request
from werkzeug.wrappers import Response as Answer

from sandbox_ehr.patients import STAFF
from sandbox_ehr.patients.chart import PRACTITIONER
from sandbox_ehr.patients.staff import Member

COOKIE = "sandbox_acting"
blueprint = Blueprint("acting", __name__)


def acting() -> Member:
    """The member of the staff who uses this browser."""
    return STAFF.get(request.cookies.get(COOKIE, ""), STAFF[PRACTITIONER])


@blueprint.app_context_processor
def _for_pages() -> dict[str, Any]:
    return {"acting": acting(), "staff": STAFF}


@blueprint.post("/acting")
def change() -> Answer:
    """Somebody else sits down; the page stays."""
    chosen, back = request.form.get("who", ""), request.form.get("back", "/")
    if chosen not in STAFF:
        abort(400)
    if not back.startswith("/") or back.startswith(("//", "/\\")):
        back = "/"
    answer = redirect(back, 303)
    answer.set_cookie(COOKIE, chosen, httponly=True, samesite="Lax")
    return answer
