"""``$next-question``: of one form only what is still unknown for this request (PS-27 to PS-30, PS-34 to PS-36).

Each call judges the answers so far with what the order's chart showed, by the same walk as order-sign, and asks every
question that would settle something and can be asked now. The attestation comes last; then the form is complete, and
what it makes of the order is kept. Of the answers themselves nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.cds_hooks.answers import Standing, answer
from cds_service.cds_hooks.response import assertion_id
from cds_service.domain.determination import Determination, DoseAssessment, OrderDetermination, Program
from cds_service.domain.documentation import DocumentationContext, DocumentedOrder
from cds_service.domain.order import Order, OrderKind
from cds_service.domain.record import Answer, Record
from cds_service.errors import PatientMismatch, UnknownContext
from cds_service.fhir.answers import ADAPTIVE_SUFFIX, Value
from cds_service.fhir.coverage import OURS, CoverageChoice
from cds_service.fhir.coverage_information import render_coverage_information
from cds_service.fhir.dtr.adaptive import Adaptive, grown_response, read_adaptive, read_given
from cds_service.fhir.dtr.parameters import read_next_question
from cds_service.fhir.questionnaire import grown_questionnaire
from cds_service.policy.case import Case
from cds_service.policy.details import details_needed
from cds_service.policy.document import document
from cds_service.policy.evaluate import examine, open_facts
from cds_service.policy.form import FINISHED, UNKNOWN
from cds_service.policy.model import Fact, Guideline
from cds_service.policy.remembered import case_of, remembering
from cds_service.policy.view import View
from cds_service.ports import Clock, FormStore
from cds_service.use_cases.decide import Rules
from cds_service.use_cases.documentation.forms import Forms, Operation, Written, as_json
from cds_service.use_cases.documentation.known import Memory, read_context, reference_id
from cds_service.use_cases.documented import patient_digest

Resource = dict[str, Any]

_CRD = {"2.0.1": "2.0", "2.2": "2.2"}
_NO_ORDER = Order(
    source="",
    kind=OrderKind.OTHER,
    status="",
    draft=True,
    codes=(),
    text="",
    route=None,
    route_unclear=False,
    route_text="",
    solution=None,
    contributions=(),
    pump_like=False,
)


class Stand(msgspec.Struct, frozen=True):
    """How things stand after the answers so far. ``determination`` None: nothing is known of the order itself."""

    missing: tuple[str, ...]
    details: frozenset[str]
    view: View
    determination: OrderDetermination | None = None


class NextQuestion:
    """The use case. Thread-safe."""

    def __init__(
        self,
        *,
        rules: Rules,
        forms: Forms,
        memory: Memory,
        store: FormStore,
        clock: Clock,
        key: bytes,
        max_bytes: int,
    ) -> None:
        """``memory`` holds the contexts of order-sign, ``store`` what completed forms come to."""
        self._rules = rules
        self._forms = forms
        self._memory = memory
        self._store = store
        self._clock = clock
        self._key = key
        self._max_bytes = max_bytes

    def answer(self, body: bytes, version: str, caller: BackendCaller) -> Operation:
        """Answer one call.

        Raises MalformedRequest (and its kinds UnknownContext, AnswersNotUsable, PatientMismatch), or TooLarge.
        """
        adaptive = read_adaptive(read_next_question(body, self._max_bytes))
        today = self._clock.now().date()
        written = self._written(adaptive.canonical, version, today)
        guideline = written.rules.guideline
        asked = adaptive.asked
        given = read_given(adaptive.resource, written.form, asked, guideline.answers_system)
        context = self._context(adaptive, guideline)
        known = _known_order(context, guideline)
        stand = self._stand(guideline, known, given, today)
        fresh = _next(guideline, stand, asked, known.only if known is not None else ())
        completed = not fresh and bool(asked)
        grown = grown_questionnaire(written.writing, asked | fresh)
        information = None
        if completed and context is not None and known is not None and stand.determination is not None:
            information = self._settled(written, stand.determination, context, version, today, caller)
        response = grown_response(adaptive, grown, completed=completed, coverage_information=information)
        return Operation(
            status=200,
            body=as_json(response),
            outcome="completed" if completed else "asked",
            context=adaptive.context,
            questionnaires=1,
            items=len(fresh),
        )

    def _written(self, canonical: str, version: str, today: date) -> Written:
        found = self._forms.find(version, canonical, today) if canonical else None
        if found is None:
            raise UnknownContext(
                "this questionnaire is not one of this payer", expression="QuestionnaireResponse.questionnaire"
            )
        return found

    def _context(self, adaptive: Adaptive, guideline: Guideline) -> DocumentationContext | None:
        if not adaptive.context:
            return None
        context = read_context(self._memory, adaptive.context)
        patient = reference_id({"reference": adaptive.patient}, "Patient")
        if patient and patient_digest(self._key, patient) != context.patient:
            raise PatientMismatch(
                "this context was made for another patient", expression="QuestionnaireResponse.subject"
            )
        return context if context.policy_id == guideline.id else None

    def _stand(
        self,
        guideline: Guideline,
        known: DocumentedOrder | None,
        given: Mapping[str, list[Value]],
        today: date,
    ) -> Stand:
        # Every answer of a form in progress counts here: the question is what would be open if it were signed now.
        answers = [
            Answer(name, value, "", today, counts=True, signed=False)
            for name, values in given.items()
            for value in values
        ]
        vocabulary, payer = self._rules.vocabulary, self._rules.payer
        if known is None:
            case = Case(_NO_ORDER, Program.STANDARD, DoseAssessment(()), Record("", answers=tuple(answers)))
            missing, view = open_facts(guideline, vocabulary, case, today)
            return Stand(missing, frozenset(), view)
        informed = remembering(guideline, known.facts)
        found, view = examine(informed, vocabulary, payer, case_of(known, answers, guideline), today)
        return Stand(found.missing_facts, frozenset(details_needed(informed, found, view)), view, found)

    def _settled(
        self,
        written: Written,
        found: OrderDetermination,
        context: DocumentationContext,
        version: str,
        today: date,
        caller: BackendCaller,
    ) -> Resource | None:
        """Keep what the form came to, and say it as coverage-information where the version has a place for it."""
        guideline = written.rules.guideline
        kept = Determination(today.isoformat(), guideline.id, guideline.version, guideline.digest, (found,))
        text = as_json(document(kept))
        self._store.keep_form_result(context.assertion, caller.client.id, text, self._clock.now())
        if version == "2.0.1":
            return None
        choice = CoverageChoice(OURS, found.program, context.coverage, active=True)
        said = answer(Standing(written.rules.answers, found, choice), _CRD[version])
        if said.answer is None:
            return None
        return render_coverage_information(
            said.answer,
            coverage=context.coverage,
            assertion_id=assertion_id(guideline.digest, today, context.coverage, text),
            day=today.isoformat(),
            version=_CRD[version],
        )


def _known_order(context: DocumentationContext | None, guideline: Guideline) -> DocumentedOrder | None:
    """The order that the form is asked for: the first that asks for this guideline's."""
    orders = context.orders if context is not None else ()
    urls = {guideline.canonical, f"{guideline.canonical}{ADAPTIVE_SUFFIX}"}
    return next((each for each in orders if each.questionnaire.partition("|")[0] in urls), None)


def _next(guideline: Guideline, stand: Stand, asked: frozenset[str], only: tuple[str, ...] = ()) -> frozenset[str]:
    """The questions to ask now: all that are open and can be asked; when none is, rationale and attestation.

    ``only``: what a reviewer asks for; then these, whatever is known of them already, with the attestation, at once.
    """
    attestation = {FINISHED, *(fact.name for fact in guideline.facts.values() if "audit" in fact.feeds)}
    if only:
        known = set(only) & guideline.facts.keys()
        # What is optional may be left open as it is: there is no question beside it that says so.
        needed = {name for name in known if not guideline.facts[name].advisory}
        wanted = known | _with_escapes(guideline, needed)
        return frozenset({*wanted, *attestation} - asked - _within_asked(guideline, asked))
    fresh = {
        name for name in stand.missing if name not in asked and _can_be_asked(guideline.facts[name], stand)
    } - _within_asked(guideline, asked)
    if fresh:
        return frozenset(_with_escapes(guideline, fresh))
    last = set()
    rationale = guideline.facts.get(guideline.rationale_fact)
    if rationale is not None and rationale.detail is not None and rationale.detail.code in stand.details:
        last.add(rationale.name)
    return frozenset((last | attestation) - asked - _within_asked(guideline, asked))


def _within_asked(guideline: Guideline, asked: frozenset[str]) -> set[str]:
    """Groups of which a part was asked."""
    return {fact.name for fact in guideline.facts.values() if any(item.name in asked for item in fact.items)}


def _can_be_asked(fact: Fact, stand: Stand) -> bool:
    if fact.detail is not None and fact.detail.code not in stand.details:
        return False
    return all(stand.view.state(one.fact).value in one.answers for one in fact.shown_when[:1])


def _with_escapes(guideline: Guideline, names: set[str]) -> set[str]:
    """Beside what has no choices stands the question that says that it cannot be determined."""
    return names | {f"{name}_{UNKNOWN}" for name in names if not guideline.facts[name].options}
