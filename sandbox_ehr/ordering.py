"""From a filled-in form to a signed order: hooks are fired, cards wait for a word, and nothing ever blocks signing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from sandbox_ehr.cds_client import Answer, CdsClient, ServiceNotReached
from sandbox_ehr.drafts import ACTIVE, Situation, build, bundle, signed
from sandbox_ehr.exchange import MASK, Exchange, Word
from sandbox_ehr.fhir_json import Resource, dumps, pretty
from sandbox_ehr.order_form import OrderForm
from sandbox_ehr.patients.chart import PRACTITIONER
from sandbox_ehr.prefetch import resolve
from sandbox_ehr.scopes import LENT
from sandbox_ehr.search import patient_of
from sandbox_ehr.store import Store
from sandbox_ehr.system_actions import apply
from sandbox_ehr.tokens import LIFETIME_SECONDS, Tokens

CDS_SERVICE = "cds-service"  # the client id under which the CDS service holds its access tokens


class Ordering:
    """What the order-entry page can do."""

    def __init__(
        self,
        *,
        store: Store,
        client: CdsClient,
        tokens: Tokens,
        base_url: str,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store, self._client, self._tokens = store, client, tokens
        self._fhir = f"{base_url}/fhir"
        self._now, self._new_id = now, new_id

    def drafts(self, patient: str, form: OrderForm) -> tuple[Resource, ...]:
        """The form as FHIR draft orders with temporary ids."""
        ids = tuple(f"draft-{self._new_id()}" for _ in range(1 + len(form.companions)))
        return build(form, self._situation(patient), ids)

    def select(self, patient: str, form: OrderForm, user: str = PRACTITIONER) -> tuple[int, int]:
        """Fire order-select while the order is being written: HTTP status and milliseconds; 0 when not reached."""
        try:
            service = self._client.service("order-select")
            if service is None:
                return 0, 0
            drafts = self.drafts(patient, form)
            extra = {"selections": [f"{drafts[0]['resourceType']}/{drafts[0]['id']}"]}
            answer = self._client.call(
                service["id"], self._request("order-select", service, patient, form, drafts, extra, user=user)
            )
        except ServiceNotReached:
            return 0, 0
        return answer.status, answer.milliseconds

    def sign(self, patient: str, form: OrderForm, user: str = PRACTITIONER) -> Exchange:
        """Fire order-sign, apply what the payer says, and file the orders unless a warning asks for a word first."""
        drafts = self.drafts(patient, form)
        exchange = Exchange(
            id=self._new_id(),
            patient=patient,
            started=self._now().isoformat(timespec="milliseconds"),
            form=form,
            state="held",
            drafts=dumps(drafts),
        )
        try:
            exchange = self._ask(exchange, drafts, user)
        except ServiceNotReached as trouble:
            exchange = msgspec.structs.replace(exchange, trouble=str(trouble))
        return self._keep(exchange if exchange.waiting() else self._file(exchange))

    def say(self, exchange: Exchange, words: Mapping[str, tuple[Mapping[str, str] | None, str]]) -> Exchange:
        """Answer cards: per card uuid an override reason (or None) and a comment. Files the orders if none waits."""
        told = self._tell(exchange, [_overridden(card, *word, self._now()) for card, word in words.items()])
        said = {
            card: Word("overridden", (reason or {}).get("display", "") or comment, told)
            for card, (reason, comment) in words.items()
        }
        exchange = msgspec.structs.replace(exchange, words={**exchange.words, **said})
        if exchange.state == "held" and not exchange.waiting():
            exchange = self._file(exchange)
        return self._keep(exchange)

    def sign_again(self, exchange: Exchange) -> Exchange:
        """Sign the same order once more; it replaces the one that was signed, so that no dose is doubled."""
        drug = next((one for one in exchange.orders if one.startswith("MedicationRequest/")), "")
        replaces = drug.removeprefix("MedicationRequest/") or exchange.form.replaces
        return self.sign(exchange.patient, msgspec.structs.replace(exchange.form, replaces=replaces))

    def load(self, patient: str, ident: str) -> Exchange | None:
        """An exchange of this patient, or None."""
        text = self._store.exchange(ident)
        found = msgspec.json.decode(text, type=Exchange) if text else None
        return found if found and found.patient == patient else None

    def history(self, patient: str) -> tuple[Exchange, ...]:
        """All exchanges of a patient, newest first."""
        return tuple(msgspec.json.decode(text, type=Exchange) for text in self._store.exchanges(patient))

    def _situation(self, patient: str) -> Situation:
        def first(resource_type: str) -> str:
            return next((str(found["id"]) for found in self._store.of_patient(patient, resource_type)), "")

        return Situation(patient, PRACTITIONER, first("Encounter"), first("Coverage"), self._now())

    def _request(
        self,
        hook: str,
        service: Mapping[str, Any],
        patient: str,
        form: OrderForm,
        drafts: tuple[Resource, ...],
        extra: Mapping[str, Any],
        *,
        instance: str | None = None,
        user: str = PRACTITIONER,
    ) -> Resource:
        situation = self._situation(patient)
        context: dict[str, Any] = {"userId": f"Practitioner/{user}", "patientId": patient}
        if situation.encounter:
            context["encounterId"] = situation.encounter
        tokens = {f"context.{name}": str(value) for name, value in context.items()}
        tokens["userPractitionerId"] = user
        templates = service.get("prefetch") or {}
        body: Resource = {
            "hook": hook,
            "hookInstance": instance or self._new_id(),
            "fhirServer": self._fhir,
            "fhirAuthorization": {
                "access_token": self._tokens.issue(CDS_SERVICE, patient, LENT),
                "token_type": "Bearer",
                "expires_in": LIFETIME_SECONDS,
                "scope": LENT,
                "subject": CDS_SERVICE,
                "patient": patient,
            },
            "context": {**context, "draftOrders": bundle(drafts, self._fhir), **extra},
        }
        prefetch = resolve(self._store, self._fhir, patient, templates, tokens, form.prefetch)
        if prefetch:
            body["prefetch"] = prefetch
        if form.crd_version:
            body["extension"] = {"davinci-crd.requestedVersion": form.crd_version}
        return body

    def _ask(self, exchange: Exchange, drafts: tuple[Resource, ...], user: str) -> Exchange:
        service = self._client.service("order-sign")
        if service is None:
            raise ServiceNotReached("The payer offers no order-sign service.")
        request = self._request(
            "order-sign", service, exchange.patient, exchange.form, drafts, {}, instance=exchange.id, user=user
        )
        answer = self._client.call(service["id"], request)
        applied = apply(drafts, answer.body if answer.status == 200 else None)
        return msgspec.structs.replace(
            exchange,
            service=str(service["id"]),
            request=pretty(_masked(request)),
            claims=pretty(answer.jwt_claims),
            status=answer.status,
            response=answer.text,
            trouble=_trouble(answer),
            milliseconds=answer.milliseconds,
            drafts=dumps(applied.drafts),
            applied=applied.done,
            refused=applied.refused,
        )

    def _file(self, exchange: Exchange) -> Exchange:
        drafts = exchange.draft_orders()
        renamed = {f"{draft['resourceType']}/{draft['id']}": self._new_id() for draft in drafts}
        references = {old: f"{old.partition('/')[0]}/{new}" for old, new in renamed.items()}
        now = self._now()
        for draft in drafts:
            key = f"{draft['resourceType']}/{draft['id']}"
            self._store.save(signed(draft, renamed[key], references, now))
            self._close(draft)
        return msgspec.structs.replace(exchange, state="signed", orders=tuple(references.values()))

    def _close(self, draft: Resource) -> None:
        """The order that a signed one replaces is over."""
        prior = str(draft.get("priorPrescription", {}).get("reference", "")).removeprefix("MedicationRequest/")
        found = self._store.read("MedicationRequest", prior) if prior else None
        if found and patient_of(found) == patient_of(draft) and found.get("status") == ACTIVE:
            self._store.save({**found, "status": "completed"})

    def _tell(self, exchange: Exchange, entries: list[dict[str, Any]]) -> bool:
        try:
            return self._client.feedback(exchange.service, entries).status < 300
        except ServiceNotReached:
            return False

    def _keep(self, exchange: Exchange) -> Exchange:
        body = msgspec.json.encode(exchange).decode()
        self._store.save_exchange(exchange.id, exchange.patient, exchange.started, body)
        return exchange


def _trouble(answer: Answer) -> str:
    if answer.status == 200 and isinstance(answer.body, dict) and isinstance(answer.body.get("cards"), list):
        return ""
    issues = answer.body.get("issue") if isinstance(answer.body, dict) else None
    said = next((str(issue.get("diagnostics") or "") for issue in issues or [] if isinstance(issue, dict)), "")
    return f"The payer's service answered {answer.status}. {said}".strip()


def _overridden(card: str, reason: Mapping[str, str] | None, comment: str, now: datetime) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "card": card,
        "outcome": "overridden",
        "outcomeTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    override: dict[str, Any] = {"reason": dict(reason)} if reason else {}
    if comment:
        override["userComment"] = comment
    if override:
        entry["overrideReason"] = override
    return entry


def _masked(request: Resource) -> Resource:
    lent = {**request["fhirAuthorization"], "access_token": MASK}
    return {**request, "fhirAuthorization": lent}
