"""The one coverage card of a response: what to do now, for all orders together (decisions 5)."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from cds_service.cds_hooks import card_details as details
from cds_service.cds_hooks.answer_values import open_question
from cds_service.cds_hooks.answers import OrderAnswer, Situation
from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.cards import Card, card_uuid, cut_summary, orders_in
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.markdown import markdown_text
from cds_service.cds_hooks.options import COVERAGE_INFO
from cds_service.domain.determination import Decision, OrderDetermination
from cds_service.domain.order import Order

# Situations that get a card, the most urgent first, and the word under which feedback counts them.
_RULES: Mapping[Situation, str] = {
    Situation.RATIONALE: "coverage-rationale",
    Situation.MISSING_FACTS: "coverage-missing-facts",
    Situation.CANNOT_TELL: "cannot-tell",
    Situation.MEDICARE: "medicare",
    Situation.REVIEWER: "coverage-reviewer",
    Situation.REDIRECT: "redirect",
    Situation.PENDING: "pending",
    Situation.READY: "coverage-ready",
    Situation.NO_AUTH: "no-auth",
}
# Where a client cannot take the system action, a card says what it would have said (a client's setting).
_FALLBACK: Mapping[Situation, str] = {
    Situation.INACTIVE: "inactive",
    Situation.TECHNICAL: "technical",
    Situation.AUTHORIZED: "authorized",
    Situation.OUTSIDE_SAID: "outside",
}
_URGENCY = {situation: rank for rank, situation in enumerate([*_RULES, *_FALLBACK])}
_SENTENCES: Mapping[Situation, str] = {
    Situation.RATIONALE: "Prior authorization: give a clinical rationale (guideline {name}).",
    Situation.MISSING_FACTS: "Prior authorization: {count} {answers} needed (guideline {name}).",
    Situation.REVIEWER: "Ready to submit for prior authorization; a reviewer decides (guideline {name}).",
    Situation.READY: "Appears to meet guideline {name}: ready to submit for prior authorization.",
    Situation.AUTHORIZED: "Covered: an authorization in force covers this order.",
}
_FORM = frozenset({Situation.RATIONALE, Situation.MISSING_FACTS, Situation.MEDICARE})
_ONE_LINE = frozenset({Situation.REDIRECT, Situation.PENDING, *_FALLBACK})


def coverage_card(
    texts: CardTexts,
    answers: Sequence[OrderAnswer],
    orders: Mapping[str, Order],
    drafts: Mapping[str, Draft],
    fallback: Container[str] = (),
) -> Card | None:
    """One card for all orders that need one, led by the most urgent; None where nothing needs saying.

    ``orders`` and ``drafts`` are keyed by "Type/id". ``fallback``: orders whose answer can go nowhere but in a card.
    """
    said = [
        each for each in answers if each.situation in _RULES or (each.situation in _FALLBACK and each.order in fallback)
    ]
    if not said:
        return None
    said.sort(key=lambda each: _URGENCY[each.situation])
    first = said[0]
    rule = _RULES.get(first.situation) or _FALLBACK[first.situation]
    summary = cut_summary(_summary(texts, first, len(said)))
    return Card(
        uuid=card_uuid([drafts[each.order].raw for each in said if each.order in drafts], rule, summary),
        rule=rule,
        topic=COVERAGE_INFO,
        indicator="info",
        summary=summary,
        detail="\n".join(_detail(texts, said, orders, several=orders_in(orders) > 1)),
        orders=tuple(each.order for each in said),
        partial=len(said) < orders_in(orders),
        smart=any(each.situation in _FORM for each in said),
        linked=any(each.situation is not Situation.REDIRECT for each in said),
    )


def _summary(texts: CardTexts, first: OrderAnswer, count: int) -> str:
    text = _sentence(texts, first).rstrip(".")
    return f"{text} ({count} orders)" if count > 1 else text


def _sentence(texts: CardTexts, said: OrderAnswer) -> str:
    """What to do, in one short sentence without patient, identifier or diagnosis."""
    determination, name = said.determination, texts.guideline
    if determination is None:
        return f"Coverage under guideline {name} cannot be told at the moment."
    if (template := _SENTENCES.get(said.situation)) is not None:
        count = len(determination.missing_facts)
        return template.format(name=name, count=count, answers="answer" if count == 1 else "answers")
    if said.situation is Situation.CANNOT_TELL:
        return open_question(determination)
    if said.situation is Situation.MEDICARE:
        return texts.instructions[determination.program]
    return _no_auth(texts, said) if said.situation is Situation.NO_AUTH else _reason(said)


def _reason(said: OrderAnswer) -> str:
    return said.answer.reasons[0].text if said.answer and said.answer.reasons else ""


def _no_auth(texts: CardTexts, said: OrderAnswer) -> str:
    meets = said.determination is not None and said.determination.decision is Decision.MEETS
    also = f"appears to meet guideline {texts.guideline}" if meets else f"guideline {texts.guideline} as advice"
    return f"No prior authorization needed; {also}."


def _detail(texts: CardTexts, said: Sequence[OrderAnswer], orders: Mapping[str, Order], *, several: bool) -> list[str]:
    """Lead, then one line per order that differs, then the first order's criteria and what hangs on it."""
    first = said[0]
    lines = [markdown_text(_reason(first) or _sentence(texts, first), 600)]
    if several:
        lines += ["", *_order_lines(texts, said, orders)]
    if first.situation in _ONE_LINE or first.determination is None:
        return lines + details.closing_lines(texts, dose=False)
    determination = first.determination
    lines += details.missing_list(texts, determination)
    lines += details.criteria_table(texts, determination)
    doses = details.distinct([each.determination.dose for each in said if each.determination])
    lines += details.dose_lines(texts, doses)
    lines += _approval(texts, determination)
    lines += details.advice_lines(texts, determination, orders.get(first.order))
    return lines + details.closing_lines(texts, dose=bool(doses))


def _order_lines(texts: CardTexts, said: Sequence[OrderAnswer], orders: Mapping[str, Order]) -> list[str]:
    """One line per sentence, naming in words the orders for which it holds (cds-hooks-crd 163)."""
    named: dict[str, list[str]] = {}
    for each in said:
        order = orders.get(each.order)
        name = markdown_text(order.text if order and order.text else each.order, 100)
        named.setdefault(_sentence(texts, each), []).append(name)
    return [f"- {'; '.join(names)}: {markdown_text(sentence)}" for sentence, names in named.items()]


def _approval(texts: CardTexts, determination: OrderDetermination) -> list[str]:
    duration = texts.durations.get(determination.approval_duration or "")
    return ["", f"Approval duration in the guideline: {duration}."] if duration else []
