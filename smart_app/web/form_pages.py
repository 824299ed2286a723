"""The pages of a form: home, choosing, filling in, saving, signing. Works without JavaScript: POST, redirect, GET.

A script of ours posts the same form after each change and swaps the body that comes back (``X-Fragment``).
"""

from __future__ import annotations

import re

from flask import Blueprint, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from smart_app.dtr.context import Wanted, asks_to_submit
from smart_app.errors import Trouble
from smart_app.forms.adaptive_form import NotReady
from smart_app.forms.coverage_form import CoverageForms, Opened
from smart_app.forms.layout import every
from smart_app.forms.opening import Choice, open_launch
from smart_app.forms.saving import Outcome
from smart_app.forms.state import FormEntry, FormStore, Work
from smart_app.sdc.view_shapes import FormView, ItemView
from smart_app.web.form_desk import desk
from smart_app.web.form_fields import changes_in, row_change
from smart_app.web.form_view import field_id, page_of
from smart_app.web.refill_pages import show_changes
from smart_app.web.security import launch_required

blueprint = Blueprint("forms", __name__)

LARGEST_UPLOAD = 12_000_000
_NOT_AN_ID = re.compile(r"[^A-Za-z0-9]")
# Said in a banner after a redirect: a word of a closed list in the address, never a text.
SAID = {
    "saved": "Draft saved in the chart.",
    "kept": "Draft kept here. This EHR lets the app read, not save: download it when it is complete.",
    "handed": "Saved for the prescriber, who can open it from this patient's chart and sign it.",
    "handed-on": "Saved for whoever goes on with it: the nurse, for example, opens it from this patient's chart.",
    "failed": "The EHR did not answer, so it is not certain that the draft was saved. Your answers are kept here: "
    "press Save draft again.",
    "refused": "The EHR did not take it. Your answers are kept here, and you can download them.",
    "refilled": "What you ticked was taken over from the chart.",
    "nothing-new": "The chart was read again. It says nothing new.",
    "theirs": "The version from the chart is shown now.",
    "next": "The payer has further questions.",
    "last": "The payer has no further questions. The form can be signed.",
}


@blueprint.before_request
def _allow_files() -> None:
    """A form may carry files; every other request stays small."""
    if request.endpoint == "forms.change":
        request.max_content_length = LARGEST_UPLOAD


@blueprint.teardown_request
def _close_files(_error: BaseException | None) -> None:
    """Larger files lie on the disk until they are closed."""
    request.close()


@blueprint.get("/l/<launch_id>/")
@launch_required
def home() -> Answer | str:
    """Straight into the one form; a list where there are several; a choice where nothing says what is wanted."""
    work = desk().forms.work(g.launch)
    if work is None and asks_to_submit(g.launch.app_context):
        return redirect(url_for("prior_auth.start"), 303)
    if work is None:
        return _opened(open_launch(desk().parts, g.launch, g.ehr))
    return _opened(work)


@blueprint.post("/l/<launch_id>/pick")
@launch_required
def pick() -> Answer | str:
    """The person chose a draft, an order or a coverage."""
    chosen = Wanted(
        origin="picked",
        orders=tuple(request.form.getlist("order")),
        coverage=request.form.get("coverage", ""),
        response=request.form.get("response", ""),
        assertion=request.form.get("context", ""),
        questionnaires=tuple(request.form.getlist("questionnaire")),
    )
    return _opened(open_launch(desk().parts, g.launch, g.ehr, chosen))


@blueprint.post("/l/<launch_id>/more")
@launch_required
def more() -> Answer | str:
    """Open what the payer asks for afterwards: another context, or a questionnaire that its answer names (AP-30)."""
    work = desk().forms.work(g.launch)
    known = work.wanted if work is not None else Wanted()
    chosen = Wanted(
        origin="picked",
        orders=tuple(request.form.getlist("order")) or known.orders,
        coverage=request.form.get("coverage", "") or known.coverage,
        assertion=request.form.get("context", ""),
        questionnaires=tuple(request.form.getlist("questionnaire")),
    )
    found = open_launch(desk().parts, g.launch, g.ehr, chosen, afresh=False)
    before = len(work.forms) if work is not None else 0
    if isinstance(found, Work) and len(found.forms) > before:
        return redirect(url_for("forms.form", number=found.forms[-1].number), 303)
    return _opened(found)


@blueprint.get("/l/<launch_id>/form/<int:number>")
@launch_required
def form(number: int) -> Answer | str:
    """The form."""
    opened = _forms().open(g.launch, g.ehr, number)
    if opened.file.theirs is not None:
        return redirect(url_for("form_side.conflict", number=number), 303)
    if opened.file.status == "completed" and "amend" not in request.args:
        return redirect(url_for("form_side.summary", number=number), 303)
    if opened.entry.adaptive and opened.file.grown is None:
        opened = desk().adaptive.next(g.launch, g.ehr, opened)
    left = _forms().left_behind(g.launch, opened)
    return page_of(opened, said=SAID.get(request.args.get("said", ""), ""), left=left)


@blueprint.post("/l/<launch_id>/form/<int:number>")
@launch_required
def change(number: int) -> Answer | str | tuple[str, int]:
    """Everything that was on the page comes in; ``do`` says what to do then."""
    opened = _forms().open(g.launch, g.ehr, number)
    if opened.file.status == "completed" and request.form.get("do") != "check":
        return redirect(url_for("form_side.summary", number=number), 303)
    if request.form.get("do") in {"take-left", "leave-left"}:
        _forms().take_over(g.launch, opened, wanted=request.form["do"] == "take-left")
        return redirect(url_for("forms.form", number=number), 303)
    if request.form.get("version", "") != str(opened.version):
        return _elsewhere(opened)
    changes, wrong = changes_in(opened, request.form, request.files)
    action = request.form.get("do", "check")
    row = row_change(action)
    changed = _forms().change(opened, [*changes, *([row] if row is not None else [])])
    if changed.file is not opened.file:
        changed = _forms().keep(g.launch, changed)
    if wrong:
        return page_of(changed, files=wrong, tried=True), 422
    return _ACTIONS.get(action.partition(":")[0], _shown)(changed)


def _shown(opened: Opened) -> Answer | str:
    """An answer was taken in: the body alone for the script, else the whole page anew."""
    if request.headers.get("X-Fragment"):
        return page_of(opened, template="form_body.html")
    return redirect(url_for("forms.form", number=opened.entry.number, _anchor=_anchor()), 303)


def _saved(opened: Opened) -> Answer | str | tuple[str, int]:
    outcome = desk().saving.save_draft(g.launch, g.ehr, opened)
    if request.headers.get("X-Fragment") and outcome.state in {"saved", "kept"}:
        return page_of(outcome.opened, template="form_body.html")
    return _after(outcome, outcome.state)


def _handed(opened: Opened) -> Answer | str | tuple[str, int]:
    outcome = desk().saving.save_draft(g.launch, g.ehr, opened)
    return _after(
        outcome, ("handed-on" if opened.work.may_sign else "handed") if outcome.state == "saved" else outcome.state
    )


def _signed(opened: Opened) -> Answer | str | tuple[str, int]:
    outcome = desk().saving.sign(g.launch, g.ehr, opened, request.form.get("clock", ""))
    if outcome.state in {"not_ready", "not_allowed"}:
        return page_of(outcome.opened, tried=True), 422
    if outcome.opened.file.status == "completed":
        return redirect(url_for("form_side.summary", number=opened.entry.number), 303)
    return _after(outcome, outcome.state)


def _next(opened: Opened) -> Answer | tuple[str, int]:
    try:
        later = desk().adaptive.next(g.launch, g.ehr, opened)
    except NotReady:
        return page_of(opened, tried=True), 422
    said = "last" if later.file.finished else "next"
    return redirect(url_for("forms.form", number=opened.entry.number, said=said), 303)


_ACTIONS = {
    "check": _shown,
    "add": _shown,
    "remove": _shown,
    "save": _saved,
    "hand-over": _handed,
    "sign": _signed,
    "refill": show_changes,
    "next": _next,
}


def _after(outcome: Outcome, said: str) -> Answer | tuple[str, int]:
    number = outcome.opened.entry.number
    if outcome.state == "conflict":
        return redirect(url_for("form_side.conflict", number=number), 303)
    if outcome.state in {"refused", "failed"}:
        return page_of(outcome.opened, said=SAID[outcome.state], ehr_said=outcome.said, bad=True), 502
    return redirect(url_for("forms.form", number=number, said=said), 303)


def _elsewhere(opened: Opened) -> tuple[str, int]:
    """Another window was quicker: nothing is taken over, and what was entered here is shown beside (fault F1)."""
    changes, _ = changes_in(opened, request.form, request.files)
    changed = _forms().change(opened, changes)
    mine = _differences(opened, changed)
    template = "form_body.html" if request.headers.get("X-Fragment") else "form.html"
    return page_of(opened, template=template, mine=mine), 409


def _differences(opened: Opened, changed: Opened) -> list[tuple[str, str]]:
    before = {item.key: item for item in _questions(opened.view)}
    found = []
    for item in _questions(changed.view):
        texts = [one.text for one in item.answers]
        old = before.get(item.key)
        if old is None or [one.text for one in old.answers] != texts:
            found.append((item.text, ", ".join(texts) or "(no answer)"))
    return found


def _questions(view: FormView) -> list[ItemView]:
    return [item for item in every(view.items) if item.control not in {"group", "row-group", "display"}]


def _opened(found: Work | Choice) -> Answer | str:
    if isinstance(found, Choice):
        return render_template("form_choice.html", choice=found)
    if not found.forms:
        raise Trouble("no_form_needed", details=tuple(text for _, text in found.messages))
    if len(found.forms) == 1:
        return redirect(url_for("forms.form", number=found.forms[0].number), 303)
    if request.method == "POST":
        return redirect(url_for("forms.home"), 303)
    return render_template("form_list.html", work=found, states=_states(found))


def _states(work: Work) -> dict[int, str]:
    return {entry.number: _state(entry) for entry in work.forms}


def _state(entry: FormEntry) -> str:
    kept = FormStore(desk().parts.store, g.launch.id).form(entry.number)
    if entry.unusable:
        return "cannot be shown here"
    return "not begun" if kept is None else "signed" if kept.file.status == "completed" else "begun"


def _forms() -> CoverageForms:
    return desk().forms


def _anchor() -> str | None:
    """Where the person was, so that the page does not jump to its top."""
    key = request.form.get("at", "")
    return field_id(key) if key else None
