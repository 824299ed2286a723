"""Pages beside the form: searching, evidence, two versions, the signed summary, the download, the what-if."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import msgspec
from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from cds_service.fhir.concepts import dicts, word
from smart_app.adapters.payer_client import PayerTrouble
from smart_app.errors import Trouble
from smart_app.forms.adaptive_form import further_questionnaires, keep_on_order
from smart_app.forms.coverage_form import Opened, with_file
from smart_app.forms.layout import every
from smart_app.forms.saving import handed_off, signed_order
from smart_app.forms.what_if import RATE_UNITS, STRENGTH_UNITS, Strength, Trial, attempt, start
from smart_app.forms.words import name_of, title_of, what
from smart_app.pictures.dose import dose_picture
from smart_app.sdc import keys
from smart_app.sdc.filling import Origin
from smart_app.sdc.response import from_response
from smart_app.sdc.shapes import Fragment, Item, ItemType
from smart_app.sdc.texts import entry
from smart_app.sdc.value_sets import codings_of
from smart_app.sdc.view import view
from smart_app.web.form_desk import desk
from smart_app.web.form_fields import FOUND, REFERRED
from smart_app.web.form_pictures import drug_orders, limits_of, pictures_of, resolver
from smart_app.web.security import launch_required

blueprint = Blueprint("form_side", __name__)

_MOST_FOUND = 20
_FEW = {"_count": str(_MOST_FOUND)}
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


class Hit(msgspec.Struct, frozen=True):
    """One search result: what its radio posts, and what a person reads."""

    value: str
    text: str


@blueprint.post("/l/<launch_id>/form/<int:number>/search")
@launch_required
def search(number: int) -> str | tuple[str, int]:
    """Codes of a large value set, or resources for a reference, by a few letters (AP-36). A fragment, or a page."""
    opened = _opened(number)
    key = request.form.get("at", "")
    item = keys.item_of(opened.form, key)
    if item is None:
        raise Trouble("no_such_form", "key")
    text = request.form.get(f"q:{key}", "").strip()[:100]
    hits, trouble = _hits(opened, item, text)
    template = "form_hits.html" if request.headers.get("X-Fragment") else "form_search.html"
    held = [_field_of(key, each) for each in opened.file.filling.state(key).values] if item.repeats else []
    return render_template(
        template, opened=opened, item=item, key=key, text=text, hits=hits, trouble=trouble, held=held
    )


def _field_of(key: str, value: Fragment) -> tuple[str, str]:
    """What says on the page of hits that an answer is there already: name and value of a field."""
    for member, prefix in (("valueCoding", FOUND), ("valueReference", REFERRED)):
        if member in value:
            return f"a:{key}", prefix + msgspec.json.encode(value[member]).decode()
    return f"{'w' if 'valueString' in value else 'a'}:{key}", entry(value)


def _hits(opened: Opened, item: Item, text: str) -> tuple[list[Hit], str]:
    if not text:
        return [], "Type a few letters of what you look for."
    if item.type is ItemType.REFERENCE:
        return _references(item, text)
    try:
        found = desk().parts.payers.expand(opened.payer, item.choices.value_set, text, _MOST_FOUND)
    except PayerTrouble as trouble:
        never = trouble.kind == "declined"
        said = "The payer does not have this list." if never else "The list could not be searched just now."
        if item.type is ItemType.OPEN_CHOICE:
            return [], f"{said} You can write the answer in your own words."
        return [], f"{said} {'Ask the payer for it, and save what you have.' if never else 'Try again in a moment.'}"
    hits = []
    for each in islice(codings_of(found.get("expansion")), _MOST_FOUND):
        coding = {name: word(each.get(name)) for name in ("system", "code", "display") if word(each.get(name))}
        hits.append(Hit(FOUND + _ENCODE(coding).decode(), coding.get("display") or coding.get("code", "")))
    return hits, "" if hits else "Nothing was found. Try other letters."


def _references(item: Item, text: str) -> tuple[list[Hit], str]:
    hits = []
    for kind in item.choices.reference_types or ("Practitioner",):
        about = {} if kind in _NOT_OF_PATIENTS else {"patient": g.launch.patient}
        named = {"name": text} if kind in _NAMED else {}
        own = kind == "Patient"  # nobody else's chart is open
        seen = g.ehr.read(g.launch.patient_reference) if own else g.ehr.search(kind, {**about, **named, **_FEW})
        for resource in seen.resources:
            shown = name_of(resource) or title_of(resource)
            if resource.get("resourceType") == kind and (kind in _NAMED or text.casefold() in shown.casefold()):
                reference = {"reference": f"{kind}/{resource.get('id')}", "display": shown}
                hits.append(Hit(REFERRED + _ENCODE(reference).decode(), f"{shown} ({kind})"))
    return hits[:_MOST_FOUND], "" if hits else "Nothing was found in the chart. Try other letters."


_NOT_OF_PATIENTS = frozenset({"Practitioner", "PractitionerRole", "Organization", "Location", "Medication"})
_NAMED = frozenset({"Practitioner", "Organization", "Location"})


@blueprint.get("/l/<launch_id>/form/<int:number>/evidence")
@launch_required
def evidence(number: int) -> str:
    """What one piece of evidence says in the chart now: what, when, by whom."""
    opened = _opened(number)
    key, place = request.args.get("at", ""), request.args.get("i", "0")
    notes = [note for answer in opened.file.filling.state(key).answers for note in answer.notes]
    notes += [note for answer in opened.file.filling.state(key).before for note in answer.notes]
    if not place.isdecimal() or int(place) >= len(notes):
        raise Trouble("no_such_form", "evidence")
    note = notes[int(place)]
    seen = g.ehr.read(note.source) if "/" in note.source else None
    resource = seen.one if seen is not None else None
    rows = what(resource) if resource is not None else []
    return render_template("form_evidence.html", opened=opened, key=key, note=note, rows=rows, seen=seen)


@blueprint.get("/l/<launch_id>/form/<int:number>/conflict")
@launch_required
def conflict(number: int) -> Answer | str:
    """The form was changed elsewhere: both versions, question by question."""
    opened = _opened(number)
    if opened.file.theirs is None:
        return redirect(url_for("forms.form", number=number), 303)
    other = from_response(opened.form, opened.file.theirs, auto=Origin.AUTO_CLIENT)
    theirs = {item.key: item for item in every(view(opened.form, other, opened.context).items)}
    mine = {item.key: item for item in every(opened.view.items)}
    rows = []
    for key in dict.fromkeys([*mine, *theirs]):
        texts = [", ".join(one.text for one in side[key].answers) if key in side else "" for side in (mine, theirs)]
        if texts[0] != texts[1]:
            item = mine.get(key) or theirs[key]
            rows.append((item.text, *texts))
    saved_by = opened.file.theirs.get("author")
    who = word(saved_by.get("display")) if isinstance(saved_by, dict) else ""
    return render_template("form_conflict.html", opened=opened, rows=rows, who=who)


@blueprint.post("/l/<launch_id>/form/<int:number>/conflict")
@launch_required
def settle(number: int) -> Answer:
    """The person chose one of the two versions."""
    opened = _opened(number)
    if opened.file.theirs is None:
        return redirect(url_for("forms.form", number=number), 303)
    if request.form.get("keep") == "theirs":
        desk().saving.take_theirs(g.launch, opened)
        return redirect(url_for("forms.form", number=number, said="theirs"), 303)
    outcome = desk().saving.keep_mine(g.launch, g.ehr, opened)
    if outcome.state == "conflict":
        return redirect(url_for("form_side.conflict", number=number), 303)
    return redirect(url_for("forms.form", number=number, said=outcome.state), 303)


@blueprint.get("/l/<launch_id>/form/<int:number>/summary")
@launch_required
def summary(number: int) -> Answer | str:
    """The completed form, for the eye and for paper; and what comes next."""
    opened = _opened(number)
    if opened.file.status != "completed":
        return redirect(url_for("forms.form", number=number), 303)
    order = signed_order(g.launch, g.ehr, opened)
    return render_template(
        "form_summary.html",
        opened=opened,
        view=opened.view,
        order=order,
        pictures=pictures_of(desk().parts, opened),
        further=further_questionnaires(opened),
        told=_told(opened),
        on_order=request.args.get("order", ""),
    )


@blueprint.post("/l/<launch_id>/form/<int:number>/answer")
@launch_required
def payers_answer(number: int) -> Answer | str:
    """What the payer said with an adaptive form: put it on the order, or say that it is wrong (AP-30, AP-31)."""
    opened = _opened(number)
    disputed = request.form.get("dispute", "")
    if disputed:
        desk().adaptive.dispute(g.launch, opened, disputed)
        return redirect(url_for("form_side.summary", number=number), 303)
    failed = keep_on_order(g.ehr, opened)
    return redirect(url_for("form_side.summary", number=number, order="failed" if failed else "kept"), 303)


@blueprint.get("/l/<launch_id>/form/<int:number>/download")
@launch_required
def download(number: int) -> Response:
    """The response as a file, where the EHR does not take it."""
    opened = _opened(number)
    done = opened.file.completed
    resource = done if done is not None else desk().saving.response(g.launch, opened, "in-progress")
    return _file(resource, "coverage-form.json")


@blueprint.get("/l/<launch_id>/form/<int:number>/hand-off")
@launch_required
def collection(number: int) -> Answer:
    """The signed form with all that it refers to, for a request that is made elsewhere (AP-32)."""
    opened = _opened(number)
    if opened.file.completed is None:
        return redirect(url_for("forms.form", number=number), 303)
    return _file(handed_off(g.launch, g.ehr, opened), "coverage-form-with-references.json")


def _file(resource: Mapping[str, object], name: str) -> Response:
    response = Response(_ENCODE(resource), mimetype="application/fhir+json")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.post("/l/<launch_id>/form/<int:number>/amend")
@launch_required
def amend(number: int) -> Answer:
    """Open a signed form again to put something right; signing it makes it an amended one."""
    opened = _opened(number)
    desk().forms.keep(g.launch, with_file(opened, status="in-progress"))
    return redirect(url_for("forms.form", number=number), 303)


@blueprint.get("/l/<launch_id>/form/<int:number>/what-if")
@launch_required
def what_if(number: int) -> str:
    """Rate and concentration as the order says them, to be tried out."""
    opened = _opened(number)
    limits = limits_of(desk().parts, opened)
    if limits is None:
        raise Trouble("no_such_form", "no_table")
    trial = start(next(iter(drug_orders(opened)), None), resolver(opened), limits)
    return _tried(opened, trial, None)


@blueprint.post("/l/<launch_id>/form/<int:number>/what-if")
@launch_required
def try_out(number: int) -> str:
    """The result; nothing is written, neither here nor in the chart."""
    opened = _opened(number)
    rows = zip(
        request.form.getlist("drug"),
        request.form.getlist("strength"),
        request.form.getlist("strength_unit"),
        strict=False,
    )
    strengths = tuple(Strength(name, value, unit) for name, value, unit in rows if name)
    added = request.form.get("add_drug", "")
    if added:
        strengths = (*strengths, Strength(added, ""))
    trial = Trial(request.form.get("rate", ""), request.form.get("rate_unit", ""), strengths[:6])
    return _tried(opened, trial, request.form)


def _tried(opened: Opened, trial: Trial, posted: object) -> str:
    limits = limits_of(desk().parts, opened)
    if limits is None:
        raise Trouble("no_such_form", "no_table")
    result = attempt(next(iter(drug_orders(opened)), None), trial, limits) if posted is not None else None
    picture = None
    if result is not None and result.assessment is not None:
        picture = dose_picture(result.assessment, limits, "What this would be")
    return render_template(
        "what_if.html",
        opened=opened,
        trial=trial,
        result=result,
        picture=picture,
        drugs=limits.names,
        rate_units=RATE_UNITS,
        strength_units=STRENGTH_UNITS,
    )


def _told(opened: Opened) -> list[tuple[str, list[tuple[str, str]], bool]]:
    """Each coverage-information: its assertion id, what it says, and whether the clinician disputes it."""
    found = []
    for each in opened.file.coverage_information:
        parts = list(dicts(each.get("extension")))
        said = [(word(p.get("url")), word(p.get("valueCode")) or word(p.get("valueString"))) for p in parts]
        ident = next((text for name, text in said if name == "coverage-assertion-id"), "")
        shown = [(_SAYS[name], text) for name, text in said if name in _SAYS and text]
        found.append((ident, shown, ident in opened.file.disputed))
    return found


_SAYS = {
    "covered": "Covered",
    "pa-needed": "Prior authorization",
    "doc-needed": "Documentation",
    "satisfied-pa-id": "Authorization number",
}


def _opened(number: int) -> Opened:
    return desk().forms.open(g.launch, g.ehr, number)
