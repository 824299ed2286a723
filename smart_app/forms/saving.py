"""Drafts, hand-over, signature: how a form gets into the EHR and what happens when it cannot (AP-21, AP-28, AP-32).

A response is created once, under an identifier of ours, and updated from then on under ``If-Match``. Where it was
changed elsewhere nothing is written: both versions are shown, and the person chooses.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any

import msgspec

from smart_app.adapters.ehr_client import EhrClient, Saved
from smart_app.dtr.context import ORDER_TYPES
from smart_app.dtr.signature import signed
from smart_app.dtr.signed_order import Draft, Signed, find
from smart_app.dtr.urls import SIGNATURE
from smart_app.dtr.wire import Links, ResponseState, hand_off, header, others_of, references_of, without_orphans
from smart_app.forms.coverage_form import CoverageForms, Opened, as_left, with_file
from smart_app.forms.parts import FormParts
from smart_app.sdc import filling as fillings
from smart_app.sdc import keys
from smart_app.sdc.entry import zone_of
from smart_app.sdc.filling import Origin
from smart_app.sdc.response import from_response, to_response, with_authors
from smart_app.sessions import Launch

Resource = dict[str, Any]

ATTESTED_BY, ATTESTED_ON = "attestation_name", "attestation_date"


class Outcome(msgspec.Struct, frozen=True):
    """What became of a save.

    ``state``: ``saved``; ``conflict`` (changed elsewhere); ``refused`` (the EHR does not take it: it can be
    downloaded); ``failed`` (try again); ``kept`` (download-only: kept here, not in the EHR); ``not_ready``;
    ``not_allowed`` (this person may not sign).
    """

    state: str
    opened: Opened
    said: tuple[str, ...] = ()


class FormSaving:
    """Saves and signs. Thread-safe."""

    def __init__(self, parts: FormParts, forms: CoverageForms) -> None:
        """``forms`` keeps what is changed here."""
        self._parts = parts
        self._forms = forms

    def save_draft(self, launch: Launch, ehr: EhrClient, opened: Opened) -> Outcome:
        """The form as it is, in progress. Answers of items that are not enabled stay in it (SD-08)."""
        if not launch.may_save:
            return Outcome("kept", self._forms.keep(launch, opened))
        return self._write(launch, ehr, opened, self._made(launch, opened, "in-progress"))

    def sign(self, launch: Launch, ehr: EhrClient, opened: Opened, clock: str = "") -> Outcome:
        """Complete it: attested by who is signed in, now; signed electronically where the form asks for that.

        ``clock`` names the time zone of the browser, whose day it is where the EHR has no zone of its own.
        """
        if not opened.work.may_sign:
            return Outcome("not_allowed", opened)
        attested = self._attested(opened, zone_of(ehr.profile.time_zone or clock))
        if not attested.view.ready or (opened.entry.adaptive and not opened.file.finished):
            return Outcome("not_ready", opened)
        response = self._made(launch, attested, "completed")
        if not launch.may_save:
            done = with_file(attested, status="completed", completed=response, saved=self._parts.now())
            return Outcome("kept", self._forms.keep(launch, done))
        outcome = self._write(launch, ehr, attested, response)
        if outcome.state == "refused":
            done = with_file(outcome.opened, completed=response)
            return Outcome("refused", self._forms.keep(launch, done), outcome.said)
        return outcome

    def response(self, launch: Launch, opened: Opened, status: str) -> Resource:
        """The QuestionnaireResponse as it stands, in the payer's version of DTR."""
        file = opened.file
        state = ResponseState(
            canonical=opened.entry.canonical,
            status=status,
            ident=file.ident,
            identifier=file.identifier,
            questionnaire=file.grown,
            coverage_information=_undisputed(opened),
            payers_own=file.payers_own,
            others=file.others,
        )
        version = opened.payer.dtr_version
        head = header(version, links(launch, opened), opened.author, self._parts.now(), state)
        filling = with_authors(file.filling, opened.author)
        written: Resource = to_response(
            opened.form, filling, opened.context, head, vocabulary=version, only_enabled=status == "completed"
        )
        return without_orphans(written)

    def _made(self, launch: Launch, opened: Opened, status: str) -> Resource:
        response = self.response(launch, opened, status)
        return self._signed(opened, response) if status == "completed" else response

    def keep_mine(self, launch: Launch, ehr: EhrClient, opened: Opened) -> Outcome:
        """Of two versions, the one on this page: it is written over the other one, which the person has seen."""
        mine = with_file(opened, etag=opened.file.theirs_etag, theirs=None, theirs_etag="")
        return self.save_draft(launch, ehr, mine)

    def take_theirs(self, launch: Launch, opened: Opened) -> Opened:
        """Of two versions, the one in the EHR: the answers on this page are given up."""
        theirs = opened.file.theirs or {}
        form, grown = as_left(opened.form, theirs, opened.package, adaptive=bool(opened.entry.adaptive))
        filling = from_response(form, theirs, auto=Origin.AUTO_CLIENT)
        taken = with_file(
            msgspec.structs.replace(opened, form=form),
            filling=filling,
            grown=grown or opened.file.grown,
            etag=opened.file.theirs_etag,
            theirs=None,
            theirs_etag="",
            changed=False,
            others=others_of(theirs),
        )
        return self._forms.keep(launch, taken)

    def _write(self, launch: Launch, ehr: EhrClient, opened: Opened, response: Resource) -> Outcome:
        file = opened.file
        if file.ident:
            saved = ehr.update(response, file.etag)
            if _to_create_anew(ehr, saved, response):
                afresh = with_file(opened, ident="", etag="", identifier=f"urn:uuid:{self._parts.new_id()}")
                return self._write(launch, ehr, afresh, self._made(launch, afresh, response["status"]))
        else:
            saved = ehr.create(response, f"identifier=urn:ietf:rfc:3986|{file.identifier}")
            if saved.state == "saved" and not saved.id:
                saved = _found_again(ehr, launch, saved, response)
        if saved.state == "saved":
            return Outcome("saved", self._forms.keep(launch, _written(opened, response, saved, self._parts)))
        if saved.state == "conflict" and file.ident:
            return self._conflict(launch, ehr, opened, response, saved)
        return Outcome(saved.state, self._forms.keep(launch, with_file(opened, changed=True)), saved.said)

    def _conflict(self, launch: Launch, ehr: EhrClient, opened: Opened, response: Resource, saved: Saved) -> Outcome:
        """Show both; unless what is there is our own earlier try, whose answer was lost on the way."""
        seen = ehr.read(f"QuestionnaireResponse/{opened.file.ident}")
        if seen.one is None:
            return Outcome("failed", self._forms.keep(launch, with_file(opened, changed=True)), saved.said)
        if seen.one.get("item") == response.get("item") and seen.one.get("status") == response.get("status"):
            ours = Saved("saved", seen.one, opened.file.ident, seen.etag)
            return Outcome("saved", self._forms.keep(launch, _written(opened, response, ours, self._parts)))
        theirs = with_file(opened, theirs=seen.one, theirs_etag=seen.etag, changed=True)
        return Outcome("conflict", self._forms.keep(launch, theirs))

    def _attested(self, opened: Opened, zone: tzinfo | None) -> Opened:
        """Name and day of the attestation, where the form has these questions: who signs, on that day in the zone."""
        author, day = opened.author, self._parts.now().astimezone(zone or UTC).date().isoformat()
        name = author.display or author.reference
        filling = opened.file.filling
        for link_id, member, value in ((ATTESTED_BY, "valueString", name), (ATTESTED_ON, "valueDate", day)):
            if link_id not in opened.form.by_link:
                continue
            key = key_of(opened, link_id)
            there = [str(held.get(member, "")) for held in filling.state(key).values]
            if not any(_same_person(each, value) for each in there):
                filling = fillings.answer(opened.form, filling, key, ({member: value},), author)
        return with_file(opened, filling=filling)

    def _signed(self, opened: Opened, response: Resource) -> Resource:
        """With an electronic signature on the whole, and on each item that asks for its own (AP-28)."""
        items = [item.link_id for item in opened.form.by_link.values() if item.signature_required]
        if not opened.form.signature_required and not items:
            return response
        whole = signed(response, opened.author, self._parts.now(), self._parts.sign)
        signature = next(each for each in whole["extension"] if each["url"] == SIGNATURE)
        marked: Resource = {**whole, "item": [_marked(each, items, signature) for each in response.get("item", [])]}
        if not opened.form.signature_required:
            marked["extension"] = response["extension"]
        return marked


def _same_person(there: str, name: str) -> bool:
    """Whether a prefilled name is the signer's, with or without title and degrees. Days are compared the same way."""
    return bool(there) and set(there.replace(",", " ").split()) <= set(name.replace(",", " ").split())


def links(launch: Launch, opened: Opened) -> Links:
    """What the response is about."""
    wanted, chart = opened.work.wanted, opened.chart
    stored = tuple(name for name, order in chart.orders.items() if order.get("status") != "draft" or order.get("meta"))
    unsigned = tuple(
        name for name in wanted.orders if not any(held.rpartition("/")[2] == name.rpartition("/")[2] for held in stored)
    )
    return Links(
        patient=launch.patient_reference,
        coverage=wanted.coverage,
        orders=stored,
        unsigned=unsigned,
        encounter=wanted.encounter or launch.encounter_reference,
        intended_use=opened.file.intended_use,
    )


def key_of(opened: Opened, link_id: str) -> str:
    """The key of an item that stands in no repeating group."""
    path = [link_id]
    while above := opened.form.parents.get(path[0], ""):
        path.insert(0, above)
    key = ""
    for each in path:
        key = keys.below(key, each)
    return key


def handed_off(launch: Launch, ehr: EhrClient, opened: Opened) -> Resource:
    """The collection that a prior authorization takes along (AP-32). Raises ValueError before it is completed."""
    if opened.file.completed is None:
        raise ValueError("only a completed form is handed off")
    known: dict[str, Resource] = {launch.patient_reference: opened.chart.patient, **opened.chart.orders}
    if opened.chart.coverage:
        known[opened.work.wanted.coverage] = opened.chart.coverage
    if opened.chart.user:
        known[opened.author.reference] = opened.chart.user
    found = [known.get(name) or ehr.read(name).one for name in references_of(opened.file.completed)]
    return hand_off(opened.file.completed, [each for each in found if each], ehr.profile.iss)


def signed_order(launch: Launch, ehr: EhrClient, opened: Opened) -> Signed:
    """The order that the draft has become, looked for in the chart now."""
    kinds = {name.partition("/")[0] for name in opened.work.wanted.orders if "/" in name} or set(ORDER_TYPES[:3])
    seen = ehr.search_many({kind: (kind, {"patient": launch.patient, "_count": "100"}) for kind in sorted(kinds)})
    stored = [each for one in seen.values() for each in one.resources if each.get("resourceType") in ORDER_TYPES]
    draft = opened.work.draft
    if not draft.names and not draft.assertion:
        draft = Draft(opened.work.wanted.orders, opened.work.wanted.assertion)
    return find(draft, stored, opened.work.opened.date())


def _to_create_anew(ehr: EhrClient, saved: Saved, response: Resource) -> bool:
    """Whether a refused update becomes a new resource.

    So it does where the earlier one is gone; and for the signed form, where the EHR changes nothing that was saved.
    """
    gone = saved.why in {"http_404", "http_410"}
    if gone and ehr.read(f"QuestionnaireResponse/{response['id']}").state == "absent":
        return True
    return (gone or saved.why in {"http_405", "http_501"}) and response["status"] == "completed"


def _found_again(ehr: EhrClient, launch: Launch, saved: Saved, response: Resource) -> Saved:
    """With the id that the EHR did not tell, so that the next save makes no second one."""
    seen = ehr.search("QuestionnaireResponse", {"patient": launch.patient, "_sort": "-authored"})
    ours = [each for each in seen.resources if each.get("identifier") == response.get("identifier")]
    if len(ours) != 1 or not isinstance(ours[0].get("id"), str):
        return saved
    again = ehr.read(f"QuestionnaireResponse/{ours[0]['id']}")
    return msgspec.structs.replace(saved, id=ours[0]["id"], etag=again.etag)


def _written(opened: Opened, response: Resource, saved: Saved, parts: FormParts) -> Opened:
    done = response["status"] == "completed"
    kept = {**response, "id": saved.id or opened.file.ident}
    return with_file(
        opened,
        ident=saved.id or opened.file.ident,
        etag=saved.etag,
        status=response["status"],
        saved=parts.now(),
        changed=False,
        completed=kept if done else None,
        theirs=None,
        theirs_etag="",
    )


def _undisputed(opened: Opened) -> tuple[Resource, ...]:
    """What the payer returned, but for what the clinician holds to be wrong (AP-31)."""
    return tuple(each for each in opened.file.coverage_information if assertion_in(each) not in opened.file.disputed)


def assertion_in(extension: Resource) -> str:
    """The assertion id of one coverage-information."""
    parts = extension.get("extension", [])
    return next((str(p.get("valueString", "")) for p in parts if p.get("url") == "coverage-assertion-id"), "")


def _marked(item: Resource, names: list[str], signature: Resource) -> Resource:
    inner = {
        member: [_marked(each, names, signature) for each in item[member]]
        for member in ("item", "answer")
        if isinstance(item.get(member), list)
    }
    own = item.get("linkId") in names and "linkId" in item
    extension = {"extension": [*item.get("extension", []), signature]} if own else {}
    return {**item, **extension, **inner}
