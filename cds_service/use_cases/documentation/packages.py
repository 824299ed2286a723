"""``$questionnaire-package``: the forms that an order, a context or a canonical asks for, each once (PS-03 to PS-17).

A context is the assertion id of an order-sign answer, or the number that came with a pended request: both are kept in
the same place (PS-09).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.domain.documentation import DocumentationContext, DocumentedOrder
from cds_service.errors import CoverageNotUsable
from cds_service.fhir.dtr.draft import DraftFor, draft_response
from cds_service.fhir.dtr.package import output, package_bundle, reference, unsigned
from cds_service.fhir.dtr.parameters import PackageRequest, read_package_request
from cds_service.fhir.questionnaire import canonical
from cds_service.ports import Clock, NewId
from cds_service.use_cases.decide import Rules
from cds_service.use_cases.documentation.forms import Forms, Operation, Written, as_json, changed_at
from cds_service.use_cases.documentation.known import (
    FromOrder,
    Insured,
    Memory,
    Sent,
    check_belongs,
    insured,
    read_context,
    read_sent,
    same_order,
)

Resource = dict[str, Any]
Issue = tuple[str, str, str]  # severity, code, text

_NOT_OURS = frozenset({"foreign"})


class Wanted(msgspec.Struct, frozen=True):
    """One form that is asked for, and what is known of the order that leads there."""

    canonical: str
    documented: DocumentedOrder | None = None
    order: Resource | None = None
    assertion: str = ""
    known_on: date | None = None


class QuestionnairePackage:
    """The use case. Thread-safe: nothing of a call is kept on it."""

    def __init__(
        self,
        *,
        rules: Rules,
        forms: Forms,
        memory: Memory,
        clock: Clock,
        new_id: NewId,
        key: bytes,
        max_bytes: int,
    ) -> None:
        """``key`` makes the digests of patients and members."""
        self._rules = rules
        self._forms = forms
        self._memory = memory
        self._clock = clock
        self._new_id = new_id
        self._key = key
        self._max_bytes = max_bytes

    def answer(self, body: bytes, version: str, caller: BackendCaller) -> Operation:
        """Answer one call of DTR ``version``.

        Raises MalformedRequest (and its kinds UnknownContext and PatientMismatch), TooLarge or CoverageNotUsable.
        """
        del caller  # every registered system is told the same (PS-37)
        asked = read_package_request(body, version, self._max_bytes)
        now = self._clock.now()
        coverages = insured(asked.coverages)
        issues: list[Issue] = []
        wanted = self._wanted(asked, coverages, version, now.date(), issues)
        packages, items = [], 0
        for written, leading, others in self._grouped(wanted, version, now.date(), issues):
            if asked.changed_since is not None and changed_at(written, leading.known_on) < asked.changed_since:
                continue
            packages.append(self._package(written, leading, others, coverages, version, now))
            items += len(written.form.facts)
        if not packages and not issues:
            issues.append(("information", "informational", "Nothing has changed since then."))
        return Operation(
            status=200,
            body=as_json(output(packages, issues, version)),
            outcome="package" if packages else "nothing",
            context=asked.context,
            questionnaires=len(packages),
            items=items,
        )

    def _wanted(
        self, asked: PackageRequest, coverages: Sequence[Insured], version: str, today: date, issues: list[Issue]
    ) -> list[Wanted]:
        """The union over context, orders and canonicals (PS-04), in this order; what stays open goes to ``issues``."""
        wanted: list[Wanted] = []
        context = self._context(asked, coverages, wanted, issues)
        sent = read_sent(self._rules, coverages, asked.orders, asked.referenced, today)
        if context is None and sent.whose(today) in _NOT_OURS:
            raise CoverageNotUsable(
                "this Coverage is not one of this payer", expression="Parameters.parameter.where(name='coverage')"
            )
        wanted += self._of_orders(sent, context, today, issues)
        if len(sent.orders) < len(asked.orders):
            issues.append(("information", "informational", "Orders of other types need no form of this payer."))
        wanted += [
            Wanted(name) if self._forms.find(version, name, today) else _unknown(name, issues)
            for name in asked.questionnaires
        ]
        return [each for each in wanted if each.canonical]

    def _context(
        self, asked: PackageRequest, coverages: Sequence[Insured], wanted: list[Wanted], issues: list[Issue]
    ) -> DocumentationContext | None:
        if not asked.context:
            return None
        context = read_context(self._memory, asked.context)
        check_belongs(context, coverages, self._key)
        asking = [each for each in context.orders if each.questionnaire]
        wanted += [Wanted(each.questionnaire, each, None, context.assertion, context.as_of) for each in asking]
        known = {canonical(each.guideline, adaptive=asks) for each in self._rules.guidelines for asks in (False, True)}
        if not asking:
            issues.append(("information", "informational", "No form is needed, as was said when the order was signed."))
        elif not any(each.questionnaire in known for each in asking):  # PS-06
            issues.append(
                ("warning", "not-found", "The form of this context is no longer offered. Sign the order once more.")
            )
        return context

    def _of_orders(
        self, sent: Sent, context: DocumentationContext | None, today: date, issues: list[Issue]
    ) -> list[Wanted]:
        """The orders of the context by what is remembered of them, others by themselves."""
        wanted, alone = [], []
        for each in sent.orders:
            known = _of_context(each, context)
            if context is None or known is None:
                alone.append(each)
            elif known.questionnaire:
                wanted.append(Wanted(known.questionnaire, known, each.resource, context.assertion, context.as_of))
        if context is not None and alone:
            text = "An order is not the one of this context: another drug, route or service."
            issues.append(("warning", "business-rule", text))
        judged = sent.judge_alone(self._memory, [each.source for each in alone], today)
        for each in alone:
            form, why = judged[each.source]
            if form is None:
                issues.append(("information", "informational", why))
            else:
                wanted.append(Wanted(form.questionnaire, form, each.resource))
        return wanted

    def _grouped(
        self, wanted: Sequence[Wanted], version: str, today: date, issues: list[Issue]
    ) -> list[tuple[Written, Wanted, list[Wanted]]]:
        """Each questionnaire once, led by the request of which most is known; the others follow it."""
        held: dict[str, tuple[Written, list[Wanted]]] = {}
        for each in wanted:
            written = self._forms.find(version, each.canonical, today)
            if written is None:
                _unknown(each.canonical, issues)
                continue
            held.setdefault(written.canonical, (written, []))[1].append(each)
        # An adaptive form that is asked for by its canonical knows what its whole twin knows.
        for written, mine in held.values():
            twin = self._forms.twin(version, written.canonical, adaptive=not written.adaptive)
            if twin is not None and twin.canonical in held and all(each.documented is None for each in mine):
                mine += [each for each in held[twin.canonical][1] if each.documented is not None]
        return [(written, *_led(mine)) for written, mine in held.values()]

    def _package(
        self,
        written: Written,
        leading: Wanted,
        others: Sequence[Wanted],
        coverages: Sequence[Insured],
        version: str,
        now: datetime,
    ) -> Resource:
        about = DraftFor(
            subject=_subject(coverages),
            coverages=tuple(_named(each.resource) for each in coverages),
            orders=tuple(_orders([leading, *others])),
            documented=leading.documented,
            assertion=leading.assertion,
            at=now,
        )
        guideline = written.rules.guideline
        draft = draft_response(guideline, written.form, about, version, adaptive=written.adaptive)
        url = written.canonical.partition("|")[0]
        return package_bundle(
            (url, msgspec.Raw(written.text)),
            (f"urn:uuid:{self._new_id()}", draft),
            self._forms.libraries.get(written.canonical, ()),
        )


def _of_context(each: FromOrder, context: DocumentationContext | None) -> DocumentedOrder | None:
    """What the context knows of an order; of two that fit, the one that a form is asked for."""
    orders = context.orders if context is not None else ()
    fitting = [known for known in orders if same_order(known, each.order)]
    return next((known for known in fitting if known.questionnaire), next(iter(fitting), None))


def _led(wanted: list[Wanted]) -> tuple[Wanted, list[Wanted]]:
    leading = max(wanted, key=lambda each: (each.documented is not None, bool(each.assertion), each.order is not None))
    return leading, [each for each in wanted if each is not leading]


def _unknown(name: str, issues: list[Issue]) -> Wanted:
    del name  # what was asked for is not repeated
    issues.append(("warning", "not-found", "A questionnaire that was asked for is not offered here."))
    return Wanted("")


def _orders(wanted: Sequence[Wanted]) -> list[Resource]:
    """Each order once: as it was sent, else by the name that it had as a draft."""
    found: dict[str, Resource] = {}
    sent = [each.documented for each in wanted if each.order is not None]
    for each in wanted:
        if each.order is not None:
            named = _named(each.order)
            found[str(named)] = named
        elif each.documented is not None and not any(each.documented is known for known in sent):
            found[each.documented.order.source] = unsigned(each.documented.order.source)
    return list(found.values())


def _named(resource: Resource) -> Resource:
    return (
        reference(resource) if resource.get("id") else {"type": resource["resourceType"], "display": "not stored yet"}
    )


def _subject(coverages: Sequence[Insured]) -> Resource:
    beneficiary = coverages[0].resource["beneficiary"]
    return {name: beneficiary[name] for name in ("reference", "identifier", "display") if name in beneficiary}
