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

from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from smart_app.ehr_client import EhrClient
from smart_app.errors import FormChanged, Trouble
from smart_app.pas.closure import Resource
from smart_app.pas.decision import Decision, Standing, Unreadable, read_decision
from smart_app.pas.for_chart import for_chart
from smart_app.pas.inquiry import build_inquiry
from smart_app.pas.matching import bundles_in, claims_named, response_bundle
from smart_app.pas.ready import evidence_of, npis
from smart_app.pas.request import Line, build, lines_of
from smart_app.pas.request import Submission as Parts
from smart_app.pas.subscription import subscription
from smart_app.pas.update import cancelled, with_documents
from smart_app.payer_client import MAX_BYTES, PayerClient, PayerTrouble
from smart_app.prior_auth_ready import Ready, provider_of
from smart_app.registry import EhrProfile, PayerProfile, Registry, base_of
from smart_app.sessions import Launch
from smart_app.submissions import Exchange, Held, Submission, Submissions

SENDER = "urn:ietf:rfc:3986"
MOST_EVIDENCE = 20  # resources that go along because an answer rests on them
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


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
        self._new_secret = new_secret
        self._public_url = public_url

    # -- sending

    def submit(
        self,
        launch: Launch,
        ehr: EhrClient,
        ready: Ready,
        *,
        codes: Mapping[str, Mapping[str, str]],
        expedited: bool,
    ) -> Held:
        """Make the request, keep it, send it. The outcome, good or bad, stands in what is given back."""
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
            exchanges=(Exchange(kind="submit", at=self._now(), request=_ENCODE(bundle)),),
        )
        version = self._kept.keep(submission, _claim_of(bundle), 0)
        self._subscribe(ready.payer, bundle)
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
        """Send what got no answer, under the same identifier."""
        if held.submission.exchanges[-1].answer is not None:
            return held
        return self._send(held)

    def add_forms(self, held: Held, forms: Sequence[Resource], ehr: EhrClient) -> Held:
        """Send the request again with further finished forms that the payer asked for (P080)."""
        sent = _newest_request(held.submission)
        known = {
            str(each["resource"].get("id"))
            for each in sent["entry"]
            if each["resource"].get("resourceType") == "QuestionnaireResponse"
        }
        fresh = [form for form in forms if str(form.get("id")) not in known]
        if not fresh:
            raise Trouble("nothing_new")
        bundle = with_documents(sent, fresh, base_of(ehr.profile.iss), self._now(), self._new_id)
        return self._send(self._begun(held, "update", bundle))

    def cancel(self, held: Held) -> Held:
        """Take the whole request back (P084)."""
        bundle = cancelled(_newest_request(held.submission), self._now(), self._new_id)
        return self._send(self._begun(held, "cancel", bundle))

    def _begun(self, held: Held, kind: str, bundle: Resource) -> Held:
        exchange = Exchange(kind=kind, at=self._now(), request=_ENCODE(bundle))
        submission = msgspec.structs.replace(held.submission, exchanges=(*held.submission.exchanges, exchange))
        return Held(submission, self._kept.keep(submission, _claim_of(bundle), held.version))

    def _send(self, held: Held) -> Held:
        payer = self._registry.payers[held.submission.payer]
        exchange = held.submission.exchanges[-1]
        request = parse(exchange.request, max_bytes=MAX_BYTES)
        try:
            body = self._payers.call(
                payer, payer.pas_base, payer.pas_scopes, "POST", "Claim/$submit", request, repeatable=True
            )
            response = response_bundle(body)
            read_decision(response)
        except PayerTrouble as trouble:
            said = tuple(text for _, text in trouble.messages)
            done = msgspec.structs.replace(exchange, trouble=trouble.kind, said=said)
            return self._ended(held, done, None)
        except Unreadable:
            return self._ended(held, msgspec.structs.replace(exchange, trouble="unreadable"), None)
        answer = _ENCODE(response)
        done = msgspec.structs.replace(exchange, answer=answer, answered=self._now(), trouble="", said=())
        return self._ended(held, done, answer)

    def _ended(self, held: Held, exchange: Exchange, answer: bytes | None) -> Held:
        changes: dict[str, Any] = {"exchanges": (*held.submission.exchanges[:-1], exchange)}
        if answer is not None:
            changes |= {"decision": answer, "decided_by": "answer", "decided_at": self._now(), "news": False}
            changes["saved_as"] = ""
        return self._keep(held, changes)

    def _keep(self, held: Held, changes: Mapping[str, Any]) -> Held:
        submission = msgspec.structs.replace(held.submission, **changes)
        claim = _claim_of(_newest_request(submission))
        return Held(submission, self._kept.keep(submission, claim, held.version))

    # -- hearing of decisions

    def check(self, held: Held) -> Held:
        """Ask the payer how it stands, because a person wants to know now (P075)."""
        payer = self._registry.payers[held.submission.payer]
        known = [line.reference for line in decision_of(held.submission).lines if line.reference]
        inquiry = build_inquiry(_newest_request(held.submission), known, self._now(), self._new_id)
        body = self._payers.call(payer, payer.pas_base, payer.pas_scopes, "POST", "Claim/$inquire", inquiry)
        for bundle in bundles_in(body):
            if _same_request(bundle, held.submission):
                return self._heard(held, bundle, "inquiry")
        return held

    def notified(self, payer: str, bundle: Resource) -> bool:
        """Take a notification of a payer's; whether it was about a request of ours."""
        for each in [bundle, *bundles_in(bundle)]:
            for claim in claims_named(each):
                held = self._kept.of_claim(payer, claim)
                if held is not None:
                    self._take(held, each)
                    return True
        return False

    def _take(self, held: Held, bundle: Resource) -> None:
        """Keep it; tried again where somebody else kept the submission meanwhile."""
        for _ in range(5):
            try:
                self._heard(held, bundle, "notification")
            except FormChanged:
                again = self._kept.one(held.submission.id)
                if again is None:
                    return
                held = again
            else:
                return

    def _heard(self, held: Held, bundle: Resource, how: str) -> Held:
        decision = _ENCODE(bundle)
        if decision == held.submission.decision:
            return held
        changes = {"decision": decision, "decided_by": how, "decided_at": self._now(), "news": how == "notification"}
        return self._keep(held, changes | {"saved_as": ""})

    def may_notify(self, payer: str, secret: str) -> bool:
        """Whether a notification with this secret comes from this payer."""
        return self._kept.may_notify(payer, secret)

    def hears(self, payer: str) -> bool:
        """Whether decisions of this payer come by themselves; else a person has to ask."""
        return self._kept.hears(payer)

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
        response = _claim_response(held.submission)
        if response is None or _over_here(held.submission):
            return held
        identifier: Resource = next(iter(response.get("identifier") or []), {})
        once = f"identifier={identifier.get('system', '')}|{identifier.get('value', '')}"
        saved = ehr.create(for_chart(response, launch.patient_reference), if_none_exist=once)
        return self._keep(held, {"saved_as": f"ClaimResponse/{saved.id}"}) if saved.state == "saved" else held

    # -- subscription

    def _subscribe(self, payer: PayerProfile, bundle: Resource) -> None:
        """Once per payer and clinic: a rest-hook of ours. A payer that has none is asked by a person instead."""
        number = next((npi for entry in bundle["entry"] for npi in _clinic(entry["resource"])), "")
        secret = self._new_secret()
        if not number or not self._kept.claim_subscription(payer.id, number, secret):
            return
        try:
            body = self._payers.call(
                payer, payer.pas_base, payer.pas_scopes, "POST", "Subscription",
                subscription(f"{self._public_url}/notifications/{payer.id}", number, secret), repeatable=False,
            )  # fmt: skip
            self._kept.subscribed(payer.id, number, str(body["id"]))
        except (PayerTrouble, KeyError, TypeError):
            self._kept.unsubscribe(payer.id, number)


def decision_of(submission: Submission) -> Decision:
    """The newest decision; one without lines where there is none yet."""
    if submission.decision is None:
        return Decision(identifier="", created="", lines=())
    try:
        return read_decision(parse(submission.decision, max_bytes=MAX_BYTES))
    except (Unreadable, CdsServiceError):
        return Decision(identifier="", created="", lines=())


def is_over(submission: Submission) -> bool:
    """Whether it was taken back or sent back, so that the same orders may be asked for again."""
    decision = decision_of(submission)
    return decision.not_taken or decision.standing is Standing.CANCELLED


def _over_here(submission: Submission) -> bool:
    """Whether there is nothing that a chart should hold yet."""
    return decision_of(submission).standing in {Standing.PENDED, Standing.OTHER}


def _newest_request(submission: Submission) -> Resource:
    request: Resource = parse(submission.exchanges[-1].request, max_bytes=MAX_BYTES)
    return request


def _claim_of(bundle: Mapping[str, Any]) -> str:
    return str(bundle["entry"][0]["resource"]["identifier"][0]["value"])


def _clinic(resource: Mapping[str, Any]) -> tuple[str, ...]:
    return npis(resource) if resource.get("resourceType") == "Organization" else ()


def _same_request(bundle: Mapping[str, Any], submission: Submission) -> bool:
    """Whether a response is to this request, or to an earlier form of it."""
    ours = {_claim_of(parse(each.request, max_bytes=MAX_BYTES)) for each in submission.exchanges}
    references = {line.reference for line in decision_of(submission).lines} - {""}
    try:
        theirs = {line.reference for line in read_decision(bundle).lines} - {""}
    except Unreadable:
        return False
    return bool(ours & set(claims_named(bundle)) or references & theirs)


def _claim_response(submission: Submission) -> Resource | None:
    bundle = parse(submission.decision, max_bytes=MAX_BYTES) if submission.decision else {}
    for entry in bundle.get("entry") or []:
        resource = entry.get("resource")
        if isinstance(resource, dict) and resource.get("resourceType") == "ClaimResponse":
            return resource
    return None
