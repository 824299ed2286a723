"""Pages of the prior authorization: what is sent, how it stands, what happens next. Thin: words and fields only."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from flask import Blueprint, Response, current_app, g, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from cds_service.fhir.references import host_of
from smart_app.adapters.payer_client import PayerTrouble
from smart_app.adapters.submissions import Held
from smart_app.dtr.context import Wanted, from_app_context, from_fhir_context, resolve
from smart_app.errors import FormChanged, Trouble
from smart_app.forms.state import FormStore
from smart_app.pas.decision import Standing
from smart_app.pas.systems import CPT, HCPCS, NDC
from smart_app.prior_auth.conversation import PriorAuth
from smart_app.prior_auth.ready import Ready, ready
from smart_app.prior_auth.standing import decision_of, in_force, is_over, label_of, unanswered
from smart_app.web.security import launch_required

blueprint = Blueprint("prior_auth", __name__)

# What a person may type as a billing code; which system it is follows from its shape.
_SHAPES = (
    (re.compile(r"[A-Z][0-9]{4}"), HCPCS),
    (re.compile(r"[0-9]{4}[0-9A-Z]"), CPT),
    (re.compile(r"[0-9]{11}|[0-9]{4,5}-[0-9]{3,4}-[0-9]{1,2}"), NDC),
)
BENEFITS = ("medical", "pharmacy")


def _use_case() -> PriorAuth:
    use_case: PriorAuth = current_app.extensions["prior_auth"]
    return use_case


def _wanted() -> Wanted:
    """What the form of this launch is about; else what the launch itself says."""
    work = FormStore(current_app.extensions["app_store"], g.launch.id).work()
    if work is not None:
        return work.wanted
    host = host_of(g.ehr.profile.iss)
    entries = [msgspec.structs.asdict(each) for each in g.launch.fhir_context]
    return resolve([from_fhir_context(entries, host), from_app_context(g.launch.app_context, host)])


def _ready(
    chosen: list[str] | None = None,
    codes: Mapping[str, Mapping[str, str]] | None = None,
    forms: list[str] | None = None,
) -> Ready:
    payers = _use_case().payers_at(g.ehr.profile)
    return ready(g.launch, g.ehr, _wanted(), payers, chosen, codes, forms)


@blueprint.get("/l/<launch_id>/prior-auth")
@launch_required
def start() -> str:
    """What would be sent, and the requests that were."""
    return _start_page(_ready(), {}, {})


@blueprint.post("/l/<launch_id>/prior-auth")
@launch_required
def submit() -> Answer | tuple[str, int] | str:
    """Send it; a form that cannot be sent comes back with what to put right."""
    chosen = request.form.getlist("order")
    typed = {name: request.form.get(f"code-{name}", "").strip().upper() for name in chosen}
    codes = {name: coding for name, text in typed.items() if (coding := read_code(text)) is not None}
    shown = _ready(chosen, codes, request.form.getlist("form"))
    wrong = _wrong(shown, typed, codes)
    if wrong:
        return _start_page(shown, typed, wrong), 422
    if request.form.get("benefit") == "pharmacy":
        return render_template("prior_auth_pharmacy.html", ready=shown)
    expedited = request.form.get("urgency") == "expedited"
    turn = request.form.get("turn", type=int)
    turn = _use_case().turn(g.launch) if turn is None else turn
    try:
        held = _use_case().submit(g.launch, g.ehr, shown, codes=codes, expedited=expedited, turn=turn)
    except FormChanged:  # sent from another page, or by a second press: nobody is asked twice
        running = _use_case().for_orders(g.launch, chosen)
        if running:
            return _to(running[0], "sent-already")
        return _start_page(
            shown, typed, {"orders": "Another request of this patient was sent meanwhile: see below."}
        ), 409
    return _to(_use_case().save_decision(held, g.launch, g.ehr))


def read_code(text: str) -> Mapping[str, str] | None:
    """A billing code as typed, with its system; None for what is none."""
    return next(({"system": system, "code": text} for shape, system in _SHAPES if shape.fullmatch(text)), None)


def _wrong(shown: Ready, typed: Mapping[str, str], codes: Mapping[str, object]) -> dict[str, str]:
    """Field -> what to put right, in the order of the page."""
    wrong = dict.fromkeys(("orders",), shown.problems[0]) if shown.problems else {}
    marks = {each.name: each.mark for each in shown.choices}
    seen = {name: request.form.get(f"seen-{name}") for name in typed}
    if set(typed) - set(marks):
        wrong["orders"] = (
            "An order that you chose is not signed any more, or not in the chart. See what is left, then submit."
        )
    elif any(mark not in {None, marks[name]} for name, mark in seen.items()):
        wrong["orders"] = "An order was changed in the EHR since this page was opened. Look at it again, then submit."
    for name, text in typed.items():
        if text and name not in codes:
            wrong[f"code-{name}"] = "This is no HCPCS, CPT or NDC code. Example: J2274."
    for each in shown.codes:
        wrong.setdefault(f"code-{each.order}", f"Enter the billing code of: {each.words}.")
    if request.form.get("benefit") not in BENEFITS:
        wrong["benefit"] = "Choose how the drug is supplied."
    return wrong


def _start_page(shown: Ready, typed: Mapping[str, str], wrong: Mapping[str, str]) -> str:
    names = [each.name for each in shown.choices if each.meant]
    return render_template(
        "prior_auth_start.html",
        ready=shown,
        typed=typed,
        wrong=wrong,
        answers=request.form,
        running=_use_case().for_orders(g.launch, names),
        requests=_use_case().all_of(g.launch),
        label_of=label_of,
        turn=_use_case().turn(g.launch),
    )


@blueprint.app_template_global("sent_for")
def sent_for(order: Mapping[str, object]) -> tuple[str, str] | None:
    """Address and standing of the newest request about a signed order, for pages beside these; None: none was sent."""
    held = _use_case().for_orders(g.launch, [f"{order.get('resourceType')}/{order.get('id')}"])
    if not held:
        return None
    newest = held[0].submission
    words = decision_of(newest).label if newest.decision else "No answer yet"
    return url_for("prior_auth.standing", ident=newest.id), words


@blueprint.get("/l/<launch_id>/prior-auth/<ident>")
@launch_required
def standing(ident: str) -> str:
    """How one request stands."""
    held = _use_case().seen(_use_case().of_launch(g.launch, ident))
    held = _use_case().save_decision(held, g.launch, g.ehr)
    return _request_page(held, request.args.get("message", ""))


def _request_page(held: Held, message: str, said: tuple[str, ...] = ()) -> str:
    """The page of one request; ``message`` is a word that the page knows, ``said`` what the payer said just now."""
    submission = held.submission
    decision = decision_of(submission)
    waiting = decision.standing is Standing.PENDED or unanswered(submission)
    missed = _use_case().news.missed(submission.payer)
    return render_template(
        "prior_auth_request.html",
        submission=submission,
        decision=decision,
        last=submission.exchanges[-1],
        label=label_of(submission),
        under_way=unanswered(submission),
        waiting=waiting,
        payer=_use_case().payer_name(submission.payer),
        hears=_use_case().news.hears(submission.payer),
        missed=waiting and missed is not None and (submission.decided_at is None or missed > submission.decided_at),
        can_change=in_force(submission) is not None and not unanswered(submission) and not is_over(submission),
        version=_version(held),
        message=message,
        said=said,
    )


def _version(held: Held) -> str:
    """What changes with the page of a request."""
    missed = _use_case().news.missed(held.submission.payer)
    return f"{held.version}.{missed.isoformat() if missed else ''}"


@blueprint.get("/l/<launch_id>/prior-auth/<ident>/state")
@launch_required
def state(ident: str) -> Response:
    """What changes when something was heard; for the page that waits."""
    held = _use_case().of_launch(g.launch, ident)
    return jsonify(state=decision_of(held.submission).standing.value, at=_version(held))


@blueprint.post("/l/<launch_id>/prior-auth/<ident>/again")
@launch_required
def again(ident: str) -> Answer:
    """Send what got no answer once more."""
    held = _use_case().send_again(_use_case().of_launch(g.launch, ident))
    return _to(_use_case().save_decision(held, g.launch, g.ehr))


@blueprint.post("/l/<launch_id>/prior-auth/<ident>/check")
@launch_required
def check(ident: str) -> Answer | str:
    """Ask the payer now."""
    held = _use_case().of_launch(g.launch, ident)
    try:
        after = _use_case().check(held)
    except PayerTrouble as trouble:
        return _told(held, f"check-{trouble.kind}", tuple(text for _, text in trouble.messages))
    return _told(_use_case().save_decision(after.held, g.launch, g.ehr), after.word, after.said)


@blueprint.post("/l/<launch_id>/prior-auth/<ident>/answers")
@launch_required
def answers(ident: str) -> Answer:
    """Send forms that were finished since."""
    held = _use_case().of_launch(g.launch, ident)
    shown = _ready(list(held.submission.orders))
    try:
        after = _use_case().add_forms(held, [each.response for each in shown.forms if each.meant], g.ehr)
    except Trouble as trouble:
        if trouble.kind != "nothing_new":
            raise
        return _to(held, "nothing-new")
    return _to(_use_case().save_decision(after, g.launch, g.ehr))


@blueprint.post("/l/<launch_id>/prior-auth/<ident>/cancel")
@launch_required
def cancel(ident: str) -> Answer | tuple[str, int]:
    """Take it back, after the person has said so twice."""
    held = _use_case().of_launch(g.launch, ident)
    if request.form.get("sure") != "yes":
        return render_template("prior_auth_cancel.html", submission=held.submission), 200
    return _to(_use_case().cancel(held))


@blueprint.errorhandler(FormChanged)
def changed(_error: FormChanged) -> Answer:
    """A notification came in between: show how it stands now."""
    ident = (request.view_args or {}).get("ident", "")
    if not ident:
        return redirect(url_for("prior_auth.start", launch_id=g.launch.id), 303)
    return redirect(url_for("prior_auth.standing", launch_id=g.launch.id, ident=ident, message="changed"), 303)


def _told(held: Held, message: str, said: tuple[str, ...]) -> Answer | str:
    """The same; what the payer said is told now, for it is kept nowhere."""
    return _request_page(held, message, said) if said else _to(held, message)


def _to(held: Held, message: str = "") -> Answer:
    """The page of one request; ``message`` is a word that the page knows."""
    return redirect(
        url_for("prior_auth.standing", launch_id=g.launch.id, ident=held.submission.id, message=message or None), 303
    )
