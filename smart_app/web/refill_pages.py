"""Looking into the chart once more: what would change, answer by answer, and what a person takes over (SD-15)."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from smart_app.forms.coverage_form import Opened
from smart_app.sdc.populate import Change
from smart_app.sdc.texts import shown
from smart_app.web.form_desk import desk
from smart_app.web.security import launch_required

blueprint = Blueprint("refill", __name__)


def show_changes(opened: Opened) -> Answer | str:
    """The page to choose from; back to the form where the chart says nothing new."""
    changes, looked = desk().forms.look_again(g.ehr, opened)
    if not changes:
        desk().forms.keep(g.launch, looked)
        return redirect(url_for("forms.form", number=opened.entry.number, said="nothing-new"), 303)
    return render_template("form_refill.html", opened=opened, rows=[_row(opened, each) for each in changes])


@blueprint.post("/l/<launch_id>/form/<int:number>/refill")
@launch_required
def take(number: int) -> Answer:
    """Take over what the person ticked."""
    opened = desk().forms.open(g.launch, g.ehr, number)
    changes, looked = desk().forms.look_again(g.ehr, opened)
    desk().forms.take(g.launch, looked, changes, request.form.getlist("take"))
    return redirect(url_for("forms.form", number=number, said="refilled"), 303)


def _row(opened: Opened, change: Change) -> tuple[str, str, str, str, bool]:
    """Key, question, answer now, answer of the chart, and whether a person gave the answer that is there."""
    before = ", ".join(shown(each) for each in change.before)
    after = ", ".join(shown(each.value) for each in change.after.answers)
    return change.key, change.text, before, after, opened.file.filling.state(change.key).touched
