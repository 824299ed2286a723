"""From a launch to its forms: what is wanted, whose coverage, which payer, which questionnaires (AP-01 to AP-10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.dates import period
from cds_service.fhir.operation_outcome import operation_outcome
from cds_service.fhir.references import host_of
from smart_app.adapters.ehr_client import EhrClient
from smart_app.adapters.payer_client import PayerTrouble
from smart_app.dtr.context import (
    ORDER_TYPES,
    Wanted,
    filled,
    from_app_context,
    from_draft,
    from_fhir_context,
    from_order,
    resolve,
)
from smart_app.dtr.drafts import draft_for, in_progress
from smart_app.dtr.package import FormPackage, Packages
from smart_app.dtr.package_request import package_request, self_contained
from smart_app.dtr.payer_choice import payer_of
from smart_app.dtr.signed_order import Draft, sketch
from smart_app.dtr.signer import may_sign, role_of
from smart_app.errors import Trouble
from smart_app.forms.chart_reads import FirstRound, at_once, first_round, prescriptions, related, unseen_words
from smart_app.forms.parts import FormParts
from smart_app.forms.state import ChartCopy, FormEntry, FormStore, PackageCopy, Work
from smart_app.forms.words import name_of
from smart_app.pictures.timeline import opioids
from smart_app.registry import PayerProfile
from smart_app.sdc.filling import Author
from smart_app.sdc.form import read_form
from smart_app.sdc.shapes import UnusableQuestionnaire
from smart_app.sessions import Launch

Resource = dict[str, Any]

TROUBLE_PAGES = {
    "away": "payer_away",
    "busy": "payer_away",
    "refused": "payer_refused",
    "declined": "payer_declined",
    "unreadable": "payer_unreadable",
    "unknown_outcome": "payer_away",
}


class Choice(msgspec.Struct, frozen=True):
    """Nothing says what is wanted, or not enough: the person picks one of these. All may be empty."""

    drafts: tuple[Resource, ...] = ()
    orders: tuple[Resource, ...] = ()
    coverages: tuple[Resource, ...] = ()
    wanted: Wanted = Wanted()
    related: Mapping[str, Resource] = {}  # medications that orders name, by reference


def open_launch(
    parts: FormParts, launch: Launch, ehr: EhrClient, picked: Wanted | None = None, *, afresh: bool = True
) -> Work | Choice:
    """Read the chart, ask the payer, keep what came. Raises Trouble with its page, and Relaunch.

    ``picked`` is what a person chose, over what the launch says. Not ``afresh``: what comes is added to the forms that
    are open already.
    """
    host = host_of(ehr.profile.iss)
    said = [from_fhir_context(_entries(launch), host), from_app_context(launch.app_context, host)]
    wanted = resolve([*([picked] if picked is not None else []), *said])
    first, wanted = _looked_up(launch, ehr, wanted, host)
    if not (wanted.orders or wanted.questionnaires or wanted.assertion or wanted.response):
        drafts = in_progress(first.responses)
        if len(drafts) != 1 or wanted.encounter:
            return _to_pick(launch, ehr, wanted, drafts)
        first, wanted = _looked_up(launch, ehr, from_draft(drafts[0], host), host)
    coverage = _coverage(wanted, first.coverages, parts.now().date())
    if coverage is None:
        usable = tuple(each for each in first.coverages if _in_force(each, parts.now().date()))
        if not usable:
            raise Trouble("coverage_hidden" if first.coverages_hidden else "coverage_missing", details=first.not_seen)
        return Choice(coverages=usable, wanted=wanted)
    wanted = msgspec.structs.replace(wanted, coverage=f"Coverage/{coverage['id']}")
    opening = _Opening(parts, launch, ehr, wanted, first, coverage)
    opening.picked = picked.assertion if picked is not None else ""
    return opening.work(afresh=afresh)


class _Opening:
    """One opening, once it is known what is wanted."""

    def __init__(
        self, parts: FormParts, launch: Launch, ehr: EhrClient, wanted: Wanted, first: FirstRound, coverage: Resource
    ) -> None:
        self.parts = parts
        self.launch = launch
        self.ehr = ehr
        self.wanted = wanted
        self.first = first
        self.coverage = coverage
        self.related = related(ehr, [coverage, *first.orders.values()])
        payers = parts.registry.payers_of(ehr.profile)
        payer = payer_of(coverage, self.related, payers)
        if payer is None:
            if _nameless(coverage, self.related):
                raise Trouble("payer_hidden")
            raise Trouble("payer_unknown", details=tuple(each.name for each in payers))
        self.payer: PayerProfile = payer
        self.picked = ""  # the context that a person chose, as the payer's answer to a request named it
        self.messages: list[tuple[str, str]] = []
        self.answer = Packages()  # the payer's last

    def work(self, *, afresh: bool) -> Work:
        """Ask, sort out what cannot be used, and keep everything."""
        self._check_askable()
        saved = in_progress(self.first.responses)
        known = self._known_before(saved)
        tasks: dict[str, Callable[[], Any]] = {
            "package": lambda: self._ask(known),
            "chart": lambda: prescriptions(self.launch, self.ehr),
        }
        results = at_once(tasks)
        packages, seen = results["package"], results["chart"]
        forms = self._usable(packages, saved) or ([] if known is None else [known[0]])
        if not forms:
            self._refuse_to_guess()
        store = FormStore(self.parts.store, self.launch.id)
        store.keep_chart(self._chart(seen))
        before = store.work()
        entries = list(before.forms) if before is not None and not afresh else []
        if afresh:
            store.drop_forms()
        asked_anew = before is not None and bool(self.picked) and before.wanted.assertion != self.picked
        held = set() if asked_anew else {each.canonical for each in entries}  # a request for more: the form once more
        forms = [form for form in forms if form.canonical not in held]
        for number, form in enumerate(forms, len(entries) + 1):
            entries.append(self._entry(number, form))
            store.keep_package(
                number,
                PackageCopy(
                    questionnaire=form.questionnaire,
                    draft=form.draft,
                    value_sets=form.value_sets,
                    libraries=form.libraries,
                    saved=draft_for(form.canonical, saved, self.wanted),
                ),
            )
        work = self._described(tuple(entries))
        store.keep_work(work)
        return work

    def _described(self, entries: tuple[FormEntry, ...]) -> Work:
        reference = self.launch.user.reference if self.launch.user is not None else ""
        requesters = [word(each["requester"].get("reference")) for each in self._ordered("requester")]
        user = self.first.user
        return Work(
            wanted=self.wanted,
            payer=self.payer.id,
            author=Author(
                reference or self.launch.patient_reference,
                (self.launch.user.name if self.launch.user is not None else "") or name_of(user),
                role_of(self.first.roles, user),
            ),
            may_sign=may_sign(reference, user, self.first.roles, requesters),
            opened=self.parts.now(),
            forms=entries,
            messages=tuple(dict.fromkeys(self.messages)),
            draft=self._sketch(),
        )

    def _ordered(self, member: str) -> Iterable[Resource]:
        return (each for each in self.first.orders.values() if isinstance(each.get(member), dict))

    def _sketch(self) -> Draft:
        for order in self.first.orders.values():
            medicine = order.get("medicationReference")
            name = word(medicine.get("reference")) if isinstance(medicine, dict) else ""
            inside = next((one for one in dicts(order.get("contained")) if f"#{one.get('id')}" == name), None)
            return sketch(order, inside or self.related.get(name))
        return Draft(self.wanted.orders, self.wanted.assertion)

    def _chart(self, seen: Mapping[str, Any]) -> ChartCopy:
        therapies = opioids(self.launch.patient, self.ehr.profile.iss, tuple(seen.items()), self.parts.vocabulary)
        said = {"the prescriptions": seen["MedicationRequest"], "the medication list": seen["MedicationStatement"]}
        return ChartCopy(
            patient=self.first.patient,
            user=self.first.user,
            encounter=self.first.encounter,
            coverage=self.coverage,
            orders=self.first.orders,
            related=self.related,
            therapies=therapies,
            not_seen=(*self.first.not_seen, *unseen_words(said)),
        )

    def _known_before(self, saved: Sequence[Resource]) -> tuple[FormPackage, str] | None:
        """The form of the draft that is resumed, where it was seen lately, and since when a change matters (AP-07)."""
        named = next(
            (each for each in saved if f"QuestionnaireResponse/{each.get('id')}" == self.wanted.response), None
        )
        canonical = word(named.get("questionnaire")) if named is not None else ""
        found = self.parts.seen.find(self.payer.id, canonical) if canonical else None
        if found is None:
            return None
        meta = named.get("meta") if named is not None else None
        updated = word(meta.get("lastUpdated")) if isinstance(meta, dict) else ""
        return found[0], min(updated or found[1].isoformat(), found[1].isoformat())

    def _check_askable(self) -> None:
        """A payer is asked about an order, or by name or context of its questions (dtr-1)."""
        if not (self.first.orders or self.wanted.questionnaires or self.wanted.assertion):
            raise Trouble("order_unread", "nothing_to_ask_with")

    def _ask(self, known: tuple[FormPackage, str] | None, *, canonicals: bool = True) -> Packages:
        parameters = package_request(
            self_contained(self.coverage, self.related, ("payor",)),
            [self_contained(each, self.related, ("medicationReference",)) for each in self.first.orders.values()],
            self.wanted.questionnaires if canonicals else (),
            self.wanted.assertion,
            known[1] if known is not None else "",
        )
        try:
            return self.parts.payers.packages(self.payer, parameters)
        except PayerTrouble as trouble:
            if trouble.kind == "declined" and self.wanted.assertion and self.first.orders:
                # What the payer wrote on a signed order need not be a context for questions: the order says enough.
                self.wanted = msgspec.structs.replace(self.wanted, assertion="")
                return self._ask(known, canonicals=canonicals)
            page = TROUBLE_PAGES[trouble.kind]
            raise Trouble(page, trouble.kind, details=tuple(text for _, text in trouble.messages)) from None

    def _usable(self, packages: Packages, saved: Sequence[Resource]) -> list[FormPackage]:
        """The forms in force; of an expired one the drafts are stopped and the payer chooses anew (AP-09)."""
        self.answer = packages
        self.messages += packages.messages
        today = self.parts.now().date()
        expired = [form for form in packages.forms if form.expired(today)]
        usable = [form for form in packages.forms if not form.expired(today)]
        for form in expired:
            self._retire(form, saved)
        unknown = not packages.forms and _warned(packages)  # as a payer says of a canonical that it does not have
        if (expired or unknown) and self.wanted.questionnaires and (self.first.orders or self.wanted.assertion):
            again = self.answer = self._ask(None, canonicals=False)
            self.messages += again.messages
            known = {form.canonical for form in usable}
            usable += [form for form in again.forms if not form.expired(today) and form.canonical not in known]
        for form in usable:
            self.parts.seen.keep(self.payer.id, form, self.parts.now())
        return usable

    def _refuse_to_guess(self) -> None:
        """No form to open means "nothing to answer" only where the payer did not say, or send, something else."""
        said = tuple(text for _, text in self.messages)
        if self.answer.forms:  # every one of them past its period
            raise Trouble("form_expired", "expired", details=said)
        refused = any(severity in {"error", "fatal"} for severity, _ in self.answer.messages)
        if refused or (self.wanted.questionnaires and _warned(self.answer)):
            raise Trouble("payer_declined", "said_with_status_200", details=said)
        if self.answer.unreadable:
            raise Trouble("payer_unreadable", "no_package", details=said)

    def _retire(self, form: FormPackage, saved: Sequence[Resource]) -> None:
        self.messages.append(("warning", f"“{form.title}” is no longer in use at the payer. It was not opened."))
        url = form.canonical.partition("|")[0]
        for draft in saved:
            if word(draft.get("questionnaire")).partition("|")[0] == url and self.launch.may_save:
                self.ehr.update({**draft, "status": "stopped"}, _etag(draft))
                self.messages.append(("information", "A draft of it was closed. Its answers stay in the chart."))
        if not self.wanted.questionnaires:
            said = [
                ("business-rule", "the questionnaire is past its effective period", "Questionnaire.effectivePeriod")
            ]
            self.parts.payers.report_errors(self.payer, form.canonical, operation_outcome(said))

    def _entry(self, number: int, form: FormPackage) -> FormEntry:
        unusable: tuple[str, ...] = () if form.canonical else ("The questionnaire has no address (url).",)
        try:
            questions = read_form(form.questionnaire, form.value_sets).items
            unusable += () if questions or form.adaptive else ("The questionnaire has no questions.",)
        except UnusableQuestionnaire as reason:
            unusable = reason.reasons
            said = [("not-supported", text, "Questionnaire") for text in unusable]
            self.parts.payers.report_errors(self.payer, form.canonical, operation_outcome(said))
        return FormEntry(
            number=number, canonical=form.canonical, title=form.title, adaptive=form.adaptive, unusable=unusable
        )


def _warned(packages: Packages) -> bool:
    return any(severity == "warning" for severity, _ in packages.messages)


def _entries(launch: Launch) -> list[dict[str, str]]:
    return [
        {"reference": each.reference, "canonical": each.canonical, "type": each.type, "role": each.role}
        for each in launch.fhir_context
    ]


def _looked_up(launch: Launch, ehr: EhrClient, wanted: Wanted, host: str | None) -> tuple[FirstRound, Wanted]:
    """What is named, and what that names: an order that only the saved draft tells of is read in a second round."""
    first = first_round(launch, ehr, wanted)
    whole = _completed(wanted, first, host)
    if whole.orders and not wanted.orders:
        first = first_round(launch, ehr, whole)
        whole = _completed(whole, first, host)
    return first, whole


def _completed(wanted: Wanted, first: FirstRound, host: str | None) -> Wanted:
    """Filled up from the saved draft that is named, and from what the payer wrote on the orders."""
    for response in first.responses:
        if f"QuestionnaireResponse/{response.get('id')}" == wanted.response:
            wanted = filled(wanted, from_draft(response, host))
    for order in first.orders.values():
        told = from_order(order, host)
        wanted = filled(wanted, msgspec.structs.replace(told, orders=wanted.orders))
    return wanted


def _coverage(wanted: Wanted, coverages: Sequence[Resource], today: date) -> Resource | None:
    """The named one, else the only one in force (AP-04)."""
    for each in coverages:
        if f"Coverage/{each.get('id')}" == wanted.coverage:
            return each
    usable = [each for each in coverages if _in_force(each, today)]
    return usable[0] if len(usable) == 1 else None


def _nameless(coverage: Resource, seen: Mapping[str, Resource]) -> bool:
    """Whether the chart says who pays by references alone that the EHR does not show."""
    payors = dicts(coverage.get("payor"))
    hidden = [
        word(each.get("reference")) and not (word(each.get("display")) or isinstance(each.get("identifier"), dict))
        for each in payors
    ]
    names = [word(each.get("reference")) for each in payors]
    return bool(hidden) and all(hidden) and not any(name in seen or name.startswith("#") for name in names)


def _in_force(coverage: Resource, today: date) -> bool:
    start, end = period(coverage.get("period"))
    return coverage.get("status") == "active" and (start is None or start <= today) and (end is None or today <= end)


def _to_pick(launch: Launch, ehr: EhrClient, wanted: Wanted, drafts: Sequence[Resource]) -> Choice:
    searched: dict[str, tuple[str, dict[str, str]]] = {
        kind: (kind, {"patient": launch.patient, "_count": "50"}) for kind in ORDER_TYPES[:3]
    }
    found = ehr.search_many(searched)
    orders = [
        order
        for seen in found.values()
        for order in seen.resources
        if order.get("resourceType") in ORDER_TYPES
        and order.get("status") in {"active", "draft", "on-hold"}
        and (not wanted.encounter or _encounter(order) in {"", wanted.encounter})
    ]
    orders.sort(key=lambda each: word(each.get("authoredOn")), reverse=True)
    return Choice(drafts=tuple(drafts), orders=tuple(orders), wanted=wanted, related=related(ehr, orders))


def _encounter(order: Resource) -> str:
    encounter = order.get("encounter")
    return word(encounter.get("reference")) if isinstance(encounter, dict) else ""


def _etag(resource: Resource) -> str:
    meta = resource.get("meta")
    version = word(meta.get("versionId")) if isinstance(meta, dict) else ""
    return f'W/"{version}"' if version else ""
