"""What an answer at order-sign leaves behind for its form: the documentation context of each assertion."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction

import msgspec

from cds_service.cds_hooks.answers import OrderAnswer
from cds_service.cds_hooks.coverage_card import opens_app
from cds_service.domain.documentation import (
    PREFIX,
    DocumentationContext,
    DocumentedOrder,
    Remembered,
    encode_context,
)
from cds_service.domain.quantity import decimal_text
from cds_service.policy.details import details_needed
from cds_service.policy.view import FactState, View
from cds_service.use_cases.decide import Judged, Reading


def patient_digest(key: bytes, patient_id: str) -> str:
    """The same for the same patient id, and nothing that leads back to it without the key."""
    return hmac.digest(key, f"documentation patient\0{patient_id}".encode(), "sha256").hex()


def member_digest(key: bytes, member_id: str) -> str:
    """Likewise for a member number; "" for none."""
    return hmac.digest(key, f"documentation member\0{member_id}".encode(), "sha256").hex() if member_id else ""


def contexts(
    reading: Reading,
    judged: Mapping[str, Judged],
    answers: Mapping[str, OrderAnswer],
    assertions: Mapping[str, str],
    *,
    client: str,
    key: bytes,
    as_of: date,
) -> Sequence[tuple[str, bytes]]:
    """(id, document) of each assertion under which a form or a request may follow: the app may be opened later.

    ``assertions``: Coverage -> assertion id.
    """
    found = []
    for coverage, assertion in assertions.items():
        sources = [source for source in answers if reading.choices[source].reference == coverage]
        if not any(asked_for(answers[source]) or opens_app(answers[source]) for source in sources):
            continue
        guideline = judged[sources[0]].rules.guideline
        context = DocumentationContext(
            assertion=assertion,
            as_of=as_of,
            client=client,
            coverage=coverage,
            patient=patient_digest(key, reading.chart.patient_id),
            member=member_digest(key, reading.choices[sources[0]].member_id),
            policy_id=guideline.id,
            policy_version=guideline.version,
            orders=tuple(
                documented(judged[source], asked_for(answers[source]))
                for source in sources
                if judged[source].determination.in_scope is not False
            ),
        )
        found.append((PREFIX + assertion, encode_context(context)))
    return found


def asked_for(said: OrderAnswer) -> str:
    """The questionnaire that an answer asks for, ``url|version``; "" for none."""
    return said.answer.questionnaires[0] if said.answer and said.answer.questionnaires else ""


def documented(judged: Judged, questionnaire: str) -> DocumentedOrder:
    """One judged order as it is remembered; of people only what evidence names."""
    guideline, view = judged.rules.guideline, judged.view
    determination = judged.determination
    return DocumentedOrder(
        order=msgspec.structs.replace(view.case.order, encounter="", requester=""),
        program=determination.program,
        dose=determination.dose,
        facts=dict(_remembered(guideline.facts, view)),
        missing=determination.missing_facts,
        details=details_needed(guideline, determination, view),
        questionnaire=questionnaire,
        authorized=view.case.authorization_in_force,
    )


def _remembered(names: Iterable[str], view: View) -> Iterable[tuple[str, Remembered]]:
    for name in names:
        state = view.state(name)
        if state.value is None and not state.evidence and not state.contradicted and state.proven is None:
            continue
        yield name, _fact(name, state, view)


def _fact(name: str, state: FactState, view: View) -> Remembered:
    answered = state.value is not None and state.value != state.given
    attested = [each.attested_on for each in view.answers.get(name, ()) if each.counts and each.attested_on]
    return Remembered(
        value=_text(state.value),
        answered=answered,
        attested_on=max(attested, default=None) if answered else None,
        at_least=state.proven,
        contradicts=state.contradicted,
        conflict=state.conflict,
        evidence=state.evidence,
    )


def _text(value: str | Fraction | date | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Fraction):
        return decimal_text(value)
    return value if isinstance(value, str) else value.isoformat()
