"""From the EHR's link to the first page, signing out, and what the app publishes about itself."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from smart_app.adapters.outbound import json_object
from smart_app.errors import Trouble
from smart_app.smart.authorization import name_of
from smart_app.web.parts import parts
from smart_app.web.security import launch_required, no_browser, open_launch

KEYS_SECONDS = 300  # for which others may keep our key set
LARGEST_REPORT = 20_000
_DIRECTIVES = frozenset({
    "default-src", "style-src", "style-src-elem", "style-src-attr", "script-src", "script-src-elem", "script-src-attr",
    "img-src", "font-src", "connect-src", "form-action", "base-uri", "frame-ancestors", "object-src", "frame-src",
})  # fmt: skip

_LOG = logging.getLogger(__name__)

blueprint = Blueprint("launch", __name__)


@blueprint.get("/")
def help_page() -> str:
    """How the app is opened; EHRs that allow it can be chosen here."""
    chosen = [ehr for ehr in parts().registry.ehrs.values() if ehr.enabled and ehr.standalone]
    return render_template("welcome.html", ehrs=[(ehr.name, _launch_path(ehr.iss, "")) for ehr in chosen])


@blueprint.get("/launch")
def launch() -> AnyResponse:
    """The EHR's link (SM-06, SM-07): begins an attempt, gives this browser its cookie, and looks whether it stays."""
    iss, opaque = _one("iss"), _one("launch")
    if not iss:
        raise Trouble("launch_help", "no_iss")
    g.frame_ehr = parts().registry.ehr_of(iss)
    if g.frame_ehr is not None and g.frame_ehr.own_window and request.headers.get("Sec-Fetch-Dest") == "iframe":
        raise Trouble("own_window", "ehr_wants_own_window", again=_launch_path(iss, opaque))
    begun = parts().launching.begin(iss, opaque)
    values = {"iss": iss, **({"launch": opaque} if opaque else {})}
    response = redirect(f"/launch/go/{begun.name}?{urlencode(values)}", 303)
    parts().cookies.give_binding(request, response, begun.name, begun.binding)
    return response


@blueprint.get("/launch/go/<name>")
def go(name: str) -> AnyResponse:
    """Row 108: without its cookie the sign-in could only end in an error, so it is not begun."""
    iss = _one("iss")
    g.frame_ehr = parts().registry.ehr_of(iss)
    binding = parts().cookies.binding(request, name)
    if not binding:
        again = _launch_path(iss, _one("launch")) if g.frame_ehr is not None else ""
        raise Trouble("cookies_blocked", "no_attempt_cookie", again=again)
    return redirect(parts().launching.authorization(name, binding), 303)


@blueprint.get("/callback")
def callback() -> AnyResponse:
    """Where the EHR sends the browser back. On to an address without code and state (SM-27)."""
    answer = {
        name: _one(name) for name in ("state", "code", "error", "error_description", "iss") if name in request.args
    }
    name = name_of(answer.get("state", ""))
    ehr = parts().registry.ehrs.get(parts().store.ehr_of_attempt(name))
    g.frame_ehr, g.frame_any = ehr, True
    opened = parts().launching.finish(answer, parts().cookies.binding(request, name))
    response = redirect(f"/l/{opened.launch.id}/start", 303)
    cookies = parts().cookies
    cookies.take_binding(request, response, name)
    cookies.give_secret(request, response, opened.launch.id, opened.secret)
    for ended in parts().launches.ended(cookies.launches(request)):
        cookies.take_secret(request, response, ended)
    return response


@blueprint.get("/l/<launch_id>/start")
def start(launch_id: str) -> AnyResponse:
    """The first page of a launch: if its cookie did not stay, say so, once (row 108)."""
    if not parts().cookies.secret(request, launch_id):
        g.frame_ehr = parts().launches.ehr_of(launch_id)
        raise Trouble("cookies_blocked", "no_launch_cookie")
    open_launch(launch_id)
    return redirect(f"/l/{launch_id}/", 303)


@blueprint.get("/l/<launch_id>/about")
@launch_required
def about() -> str:
    """What this launch is about and what the EHR lets the app do."""
    return render_template("about.html", profile=g.ehr.profile)


@blueprint.post("/l/<launch_id>/sign-out")
@launch_required
def sign_out() -> AnyResponse:
    """End the launch; what was entered stays for the next one (SM-45)."""
    parts().launches.end(g.launch.id, "sign_out")
    response = redirect("/signed-out", 303)
    parts().cookies.take_secret(request, response, g.launch.id)
    return response


@blueprint.get("/signed-out")
def signed_out() -> str:
    """The last page."""
    g.frame_any = True
    return render_template("signed_out.html")


@blueprint.get("/.well-known/jwks.json")
def key_set() -> Response:
    """The app's public keys (SM-28)."""
    response = jsonify(parts().keys.signing.public_set())
    response.headers["Cache-Control"] = f"public, max-age={KEYS_SECONDS}"
    return response


@blueprint.post("/csp-report")
@no_browser
def csp_report() -> tuple[str, int]:
    """A browser tells that a page of ours wanted what its policy forbids (row 109). Only the directive is noted."""
    body = request.get_data() if (request.content_length or 0) <= LARGEST_REPORT else b""
    report: Any = (json_object(body) or {}).get("csp-report")
    given = (
        str(report.get("effective-directive") or report.get("violated-directive", ""))
        if isinstance(report, dict)
        else ""
    )
    directive = given.split(" ")[0]
    if directive in _DIRECTIVES:
        _LOG.warning("a browser blocked something on a page", extra={"directive": directive})
    return "", 204


@blueprint.get("/livez")
def livez() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """It can work: the database answers and has this version's tables."""
    ready = parts().store.ready()
    return jsonify(status="ok" if ready else "database"), 200 if ready else 503


def _one(name: str) -> str:
    """A query value that is there at most once (row 97). Raises Trouble ``launch_help``."""
    values = request.args.getlist(name)
    if len(values) > 1:
        raise Trouble("launch_help", f"several_{name}")
    return values[0] if values else ""


def _launch_path(iss: str, opaque: str) -> str:
    values = {"iss": iss, **({"launch": opaque} if opaque else {})}
    return f"/launch?{urlencode(values)}"
