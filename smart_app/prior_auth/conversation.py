"""The prior authorization conversation: make the request, send it, hear what was decided, answer, take it back.

A request is kept before it is sent, and is sent again under the same identifier where nobody knows whether it arrived:
the payer answers a repeat with what it answered before (P090). Decisions come with the answer, later by notification
(P075), and by inquiry where a person asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from smart_app.adapters.ehr_client import EhrClient
from smart_app.adapters.payer_client import PayerClient, PayerTrouble
from smart_app.adapters.submissions import Exchange, Held, Submission, Submissions
from smart_app.errors import FormChanged, Trouble
from smart_app.pas.closure import Resource, gather
from smart_app.pas.decision import Unreadable, read_decision
from smart_app.pas.for_chart import for_chart
from smart_app.pas.inquiry import build_inquiry
from smart_app.pas.matching import bundles_in, is_older, of_another_person, remarks_in, says_the_same
from smart_app.pas.ready import evidence_of, npis
from smart_app.pas.request import Line, build, lines_of
from smart_app.pas.request import Submission as Parts
from smart_app.pas.update import cancelled, with_documents
from smart_app.prior_auth.payer_news import PayerNews
from smart_app.prior_auth.ready import Ready, provider_of
from smart_app.prior_auth.standing import (
    ENCODE,
    answer_to,
    claim_of,
    edition_of,
    for_the_chart,
    in_force,
    is_about,
    is_over,
    meant_by,
    names_of,
    read,
    references_of,
    settled,
    unanswered,
    with_requests,
)
from smart_app.registry import EhrProfile, PayerProfile, Registry, base_of
from smart_app.sessions import Launch

SENDER = "urn:ietf:rfc:3986"
MOST_EVIDENCE = 20  # resources that go along because an answer rests on them
_TRIES = 5  # to keep something that others keep at the same time


class Checked(msgspec.Struct, frozen=True):
    """What an inquiry brought. ``word``: news, unchanged, or unknown where the answer was about no request of ours."""

    held: Held
    word: str
    said: tuple[str, ...] = ()  # what the payer said beside it


class PriorAuth:
    """The use case. Thread-safe: nothing of a request is kept on it."""

    def __init__(
        self,
        *,
        registry: Registry,
        payers: PayerClient,
        submissions: Submissions,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
        public_url: str,
    ) -> None:
        """``new_id`` gives UUIDs of version 4, ``new_secret`` texts that cannot be guessed."""
        self._registry = registry
        self._payers = payers
        self._kept = submissions
        self._now = now
        self._new_id = new_id
        self.news = PayerNews(payers, submissions, self.take, new_secret, public_url)

    # -- sending

    def turn(self, launch: Launch) -> int:
        """What a page that offers to send hands to ``submit``: two pages of one turn are never both sent."""
        return self._kept.turn(launch.ehr, launch.patient)

    def submit(
        self,
        launch: Launch,
        ehr: EhrClient,
        ready: Ready,
        *,
        codes: Mapping[str, Mapping[str, str]],
        expedited: bool,
        turn: int,
    ) -> Held:
        """Make the request, keep it, send it. The outcome, good or bad, stands in what is given back.

        Raises:
            FormChanged: another request about this chart was begun since ``turn``; nothing was sent.
        """
        picked = [each for each in ready.choices if each.meant]
        lines, missing = lines_of([each.order for each in picked], codes)
        if ready.payer is None or ready.coverage is None or ready.problems or missing or not lines:
            raise Trouble("cannot_submit", details=ready.problems)
        bundle = self._bundle(launch, ehr, ready, lines, expedited=expedited)
        submission = Submission(
            id=self._new_id(),
            ehr=launch.ehr,
            payer=ready.payer.id,
            patient=launch.patient,
            orders=tuple(each.name for each in picked),
            words=tuple(each.words for each in picked),
            coverage=f"Coverage/{ready.coverage['id']}",
            by=launch.user.reference if launch.user else "",
            exchanges=(Exchange(kind="submit", at=self._now(), request=ENCODE(bundle)),),
        )
        version = self._kept.keep(submission, claim_of(bundle), 0)
        try:  # after it is kept: who comes too late finds the other's request
            self._kept.take_turn(launch.ehr, launch.patient, turn, submission.id)
        except FormChanged:
            self._kept.forget(submission.id)
            raise
        clinic = next((npi for entry in bundle["entry"] for npi in _clinic(entry["resource"])), "")
        if clinic:
            self.news.follow(ready.payer, clinic)
        return self._send(Held(submission, version))

    def _bundle(
        self, launch: Launch, ehr: EhrClient, ready: Ready, lines: tuple[Line, ...], *, expedited: bool
    ) -> Resource:
        if ready.payer is None or ready.coverage is None:
            raise ValueError("a request has a payer and a coverage")
        base = base_of(ehr.profile.iss)
        patient = ehr.read(launch.patient_reference).one
        if patient is None:
            raise Trouble("cannot_submit", details=("The EHR did not show the patient's record.",))
        provider, ours = provider_of(ehr, lines[0].order, self._new_id)
        forms = tuple(each.response for each in ready.forms if each.meant)
        rested_on = (ehr.read(name).one for name in evidence_of(forms)[:MOST_EVIDENCE])
        system, _, value = next(iter(ready.payer.identifiers), "").partition("|")
        parts = Parts(
            base=base,
            patient=patient,
            coverage=ready.coverage,
            lines=lines,
            responses=forms,
            supporting=tuple(each for each in rested_on if each is not None),
            provider=provider,
            provider_is_ours=ours,
            insurer_name=ready.payer.name,
            insurer_identifier={"system": system, "value": value} if value else None,
            expedited=expedited,
            sender={"system": SENDER},
        )
        return build(parts, lambda name: ehr.read(name).one, self._now(), self._new_id)

    def send_again(self, held: Held) -> Held:
        """Send what got no answer, the same bytes."""
        if held.submission.exchanges[-1].answer is not None:
            return held
        return self._send(held)

    def add_forms(self, held: Held, forms: Sequence[Resource], ehr: EhrClient) -> Held:
        """Send the request again with further finished forms that the payer asked for (P080)."""
        sent = self._base(held)
        known = {
            str(each["resource"].get("id")): each["resource"]
            for each in sent["entry"]
            if each["resource"].get("resourceType") == "QuestionnaireResponse"
        }
        fresh = [form for form in forms if edition_of(known.get(str(form.get("id")), {})) != edition_of(form)]
        if not fresh:
            raise Trouble("nothing_new")
        base = base_of(ehr.profile.iss)
        found = gather(fresh, base, lambda name: ehr.read(name).one, patient=held.submission.patient).resources
        documents = [found[f"{base}/QuestionnaireResponse/{form['id']}"] for form in fresh]
        bundle = with_documents(sent, documents, base, self._now(), self._new_id, found)
        return self._send(self._begun(held, "update", bundle))

    def cancel(self, held: Held) -> Held:
        """Take the whole request back (P084)."""
        bundle = cancelled(self._base(held), self._now(), self._new_id)
        return self._send(self._begun(held, "cancel", bundle))

    def _base(self, held: Held) -> Resource:
        """What the payer has: the request that a change begins from, never one that it did not take.

        Raises FormChanged: another page has sent something that has no answer yet. Trouble: the payer is gone.
        """
        self._payer(held)
        taken = in_force(held.submission)
        if taken is None or unanswered(held.submission):
            raise FormChanged("what was sent last has no answer yet")
        return read(taken.request)

    def _begun(self, held: Held, kind: str, bundle: Resource) -> Held:
        exchange = Exchange(kind=kind, at=self._now(), request=ENCODE(bundle))
        submission = msgspec.structs.replace(held.submission, exchanges=(*held.submission.exchanges, exchange))
        return Held(submission, self._kept.keep(submission, claim_of(bundle), held.version))

    def _send(self, held: Held) -> Held:
        payer = self._payer(held)
        exchange = held.submission.exchanges[-1]
        request = read(exchange.request)
        self._kept.name(held.submission, [claim_of(request)], ours=True)
        body: Any = None
        try:
            body = self._payers.call(
                payer, payer.pas_base, payer.pas_scopes, "POST", "Claim/$submit", exchange.request, repeatable=True
            )
            response = answer_to(request, body)
        except PayerTrouble as trouble:
            said = tuple(text for _, text in trouble.messages)
            return self._ended(held, msgspec.structs.replace(exchange, trouble=trouble.kind, said=said), None)
        except Unreadable:
            said = remarks_in(body)
            return self._ended(held, msgspec.structs.replace(exchange, trouble="unreadable", said=said), None)
        done = msgspec.structs.replace(exchange, answer=ENCODE(response), answered=self._now(), trouble="", said=())
        return self._ended(held, done, response)

    def _ended(self, held: Held, exchange: Exchange, answer: Resource | None) -> Held:
        """Keep what came of an exchange, also where a notification was kept while it was under way."""
        place = len(held.submission.exchanges) - 1
        if answer is not None:
            self._kept.name(held.submission, names_of(answer), ours=False)

        def change(submission: Submission) -> dict[str, Any]:
            if submission.exchanges[place].answer is not None and answer is None:
                return {}  # somebody else has sent the same bytes, and got the answer
            done, decided = exchange, answer is not None
            decision = read_decision(answer) if answer is not None else None
            if decision is not None and decision.not_taken and exchange.kind != "submit" and submission.decision:
                said = decision.errors or tuple(each for each in (decision.disposition, *decision.notes) if each)
                done = msgspec.structs.replace(exchange, answer=None, trouble="declined", said=said)
                decided = False  # the payer did not take the change: what it decided before stands
            elif answer is not None and submission.decision and submission.decided_at:
                came_meanwhile = submission.decided_at > exchange.at
                decided = not (came_meanwhile and is_older(answer, read(submission.decision)))
            exchanges = (*submission.exchanges[:place], done, *submission.exchanges[place + 1 :])
            changes: dict[str, Any] = {"exchanges": exchanges}
            if decided:
                changes |= {"decision": done.answer, "decided_by": "answer", "decided_at": self._now()}
                changes |= {"news": False, "saved_as": ""}
            return changes

        return self._change(held, change)

    def _change(self, held: Held, change: Callable[[Submission], dict[str, Any]]) -> Held:
        """Keep a change; made again where somebody else kept the submission meanwhile. Raises FormChanged."""
        for _ in range(_TRIES):
            changes = change(held.submission)
            if not changes:
                return held
            try:
                return self._keep(held, changes)
            except FormChanged:
                held = self._kept.one(held.submission.id) or held
        raise FormChanged("others keep it all the time")

    def _keep(self, held: Held, changes: Mapping[str, Any]) -> Held:
        submission = msgspec.structs.replace(held.submission, **changes)
        claim = claim_of(read(submission.exchanges[-1].request))
        return Held(submission, self._kept.keep(submission, claim, held.version))

    def _payer(self, held: Held) -> PayerProfile:
        """Raises Trouble where the payer's file is gone since, or names no PAS base any more."""
        payer = self._registry.payers.get(held.submission.payer)
        if payer is None or not payer.pas_base or not payer.enabled:
            raise Trouble("payer_unknown", "registration_gone")
        return payer

    # -- hearing of decisions

    def check(self, held: Held) -> Checked:
        """Ask the payer how it stands, because a person wants to know now (P075). Raises PayerTrouble."""
        payer = self._payer(held)
        self.news.follow_all(payer)
        sent = in_force(held.submission) or held.submission.exchanges[-1]
        known = references_of(held.submission)
        inquiry = build_inquiry(read(sent.request), known, self._now(), self._new_id)
        body = self._payers.call(payer, payer.pas_base, payer.pas_scopes, "POST", "Claim/$inquire", inquiry)
        if not isinstance(body, dict) or body.get("resourceType") not in {"Parameters", "Bundle", "ClaimResponse"}:
            raise PayerTrouble("unreadable", tuple(("error", text) for text in remarks_in(body)))
        word, said = "unknown", remarks_in(body)
        for bundle in bundles_in(body):
            if is_about(bundle, held.submission):
                after = self._heard(held, bundle, "inquiry")
                changed = after.submission.decision != held.submission.decision
                word, held = "news" if changed or word == "news" else "unchanged", after
        return Checked(held, word, said)

    def take(self, payer: str, bundle: Resource, event: int, subscription: str) -> bool:
        """Take what a notification brought; whether it was about a request of ours. Raises FormChanged."""
        held = self._kept.of_names(payer, meant_by(bundle))
        if held is None or of_another_person(bundle, read(held.submission.exchanges[0].request)):
            return False
        self._heard(held, bundle, "notification", event, subscription)
        return True

    def catch_up(self, payer: str, organization: str, newest: int) -> None:
        """Fetch what this payer's notifications did not bring. Never raises for what goes wrong at the payer."""
        profile = self._registry.payers.get(payer)
        if profile is not None and profile.pas_base and profile.enabled:
            self.news.catch_up(profile, organization, newest)

    def _heard(self, held: Held, bundle: Resource, how: str, event: int = 0, subscription: str = "") -> Held:
        self._kept.name(held.submission, names_of(bundle), ours=False)

        def change(submission: Submission) -> dict[str, Any]:
            current = read(submission.decision) if submission.decision else None
            newest = submission.event if submission.event_of == subscription else 0
            told = bundle if how != "inquiry" or current is None else with_requests(bundle, current)
            changes = settled(submission, told, self._now())
            if event and event >= newest:
                changes |= {"event": event, "event_of": subscription}
            if current is not None and (says_the_same(told, current) or is_older(told, current) or 0 < event < newest):
                return changes
            changes |= {"decision": ENCODE(told), "decided_by": how, "decided_at": self._now(), "saved_as": ""}
            return changes | {"news": how == "notification"}

        return self._change(held, change)

    def payers_at(self, ehr: EhrProfile) -> tuple[PayerProfile, ...]:
        """The payers of one EHR that take requests."""
        return tuple(payer for payer in self._registry.payers_of(ehr) if payer.pas_base)

    def payer_name(self, payer: str) -> str:
        """The name shown to people."""
        profile = self._registry.payers.get(payer)
        return profile.name if profile is not None else "the payer"

    def seen(self, held: Held) -> Held:
        """A person looks at it: news are no news any more."""
        return self._keep(held, {"news": False}) if held.submission.news else held

    def of_launch(self, launch: Launch, ident: str) -> Held:
        """A submission of this launch's patient. Raises Trouble("not_found")."""
        held = self._kept.one(ident)
        if held is None or (held.submission.ehr, held.submission.patient) != (launch.ehr, launch.patient):
            raise Trouble("not_found")
        return held

    def for_orders(self, launch: Launch, orders: Sequence[str]) -> tuple[Held, ...]:
        """Requests about any of these orders that were not taken back, the newest first."""
        return tuple(
            held
            for held in self.all_of(launch)
            if set(orders) & set(held.submission.orders) and not is_over(held.submission)
        )

    def all_of(self, launch: Launch) -> tuple[Held, ...]:
        """All submissions of this launch's patient, the newest first."""
        return self._kept.of_chart(launch.ehr, launch.patient)

    def save_decision(self, held: Held, launch: Launch, ehr: EhrClient) -> Held:
        """Put the newest decision into the EHR, once, where it takes ClaimResponses; else nothing happens.

        One that came by notification gets there when a person looks at it: only then is there a launch that may write.
        """
        if held.submission.saved_as or not any(
            each.startswith(("patient/ClaimResponse.", "user/ClaimResponse.")) for each in launch.scopes
        ):
            return held
        response = for_the_chart(held.submission)
        if response is None:
            return held
        copy, once = for_chart(response, launch.patient_reference)
        try:
            saved = ehr.create(copy, if_none_exist=once)
        except Trouble:  # the EHR's permission ended just now: the decision itself is kept, and is saved another time
            return held
        if saved.state != "saved":
            return held
        decision, name = held.submission.decision, f"ClaimResponse/{saved.id}"
        return self._change(held, lambda newest: {"saved_as": name} if newest.decision == decision else {})


def _clinic(resource: Mapping[str, Any]) -> tuple[str, ...]:
    return npis(resource) if resource.get("resourceType") == "Organization" else ()
