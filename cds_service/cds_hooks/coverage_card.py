"""The one coverage card of a response: what to do now, for all orders together (decisions 5)."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from cds_service.cds_hooks import card_details as details
from cds_service.cds_hooks.answers import OrderAnswer, Situation
from cds_service.cds_hooks.card_criteria import criteria_table
from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.cards import Card, card_uuid, cut_summary, orders_in
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.markdown import markdown_text
from cds_service.cds_hooks.options import COVERAGE_INFO
from cds_service.cds_hooks.order_words import exceeding, open_question, rationale_for, renewal_not_stated
from cds_service.domain.determination import Decision, OrderDetermination
from cds_service.domain.order import Order
from cds_service.domain.truth import Truth

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
    Situation.ENDING: "coverage-renew",
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
    Situation.RATIONALE: "Prior authorization: give a clinical rationale for {subject} (guideline {name}).",
    Situation.MISSING_FACTS: "Prior authorization: {count} {answers} needed (guideline {name}).",
    Situation.REVIEWER: "Ready to submit for prior authorization; a reviewer decides (guideline {name}).",
    Situation.READY: "Appears to meet guideline {name}: ready to submit for prior authorization.",
    Situation.AUTHORIZED: "Covered: an authorization in force covers this order.",
    Situation.ENDING: "Covered by an authorization that ends on {end}: renew it before then.",
}
# What opens the detail; other situations say all in their one sentence.
_TO_DO: Mapping[Situation, str] = {
    Situation.RATIONALE: "give a clinical rationale for {subject}; a reviewer reads it.",
    Situation.MISSING_FACTS: "answer {questions} for the prior authorization request.",
    Situation.MEDICARE: "answer {questions} for the person who decides.",
    Situation.REVIEWER: "submit the request for prior authorization; a reviewer decides.",
    Situation.READY: "submit the request for prior authorization; nothing is missing for it.",
    Situation.PENDING: "nothing now; the request waits for its decision.",
    Situation.ENDING: "nothing for this order; submit a renewal before the authorization ends.",
}
_FORM = frozenset({Situation.RATIONALE, Situation.MISSING_FACTS, Situation.MEDICARE})
# What the app is opened for, by situation: to answer, to send, to look.
_OFFERS: Mapping[Situation, str] = {
    **dict.fromkeys(_FORM, "Answer the open questions"),
    Situation.READY: "Submit the request",
    Situation.REVIEWER: "Submit the request",
    Situation.PENDING: "See the request",
}
_ONE_LINE = frozenset({Situation.REDIRECT, Situation.PENDING, Situation.ENDING, *_FALLBACK})


def opens_app(said: OrderAnswer) -> bool:
    """Whether there is something to send or to look at in the app, without any question."""
    return said.situation in _OFFERS and said.situation not in _FORM


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
    summary = cut_summary(_sentence(texts, first).rstrip("."), _count(texts, said, orders_in(orders)))
    return Card(
        uuid=card_uuid([drafts[each.order].raw for each in said if each.order in drafts], rule, summary),
        rule=rule,
        topic=COVERAGE_INFO,
        indicator="info",
        summary=summary,
        detail="\n".join(_detail(texts, said, orders, several=orders_in(orders) > 1)),
        orders=tuple(each.order for each in said),
        partial=len(said) < orders_in(orders),
        smart=next((_OFFERS[each.situation] for each in said if each.situation in _OFFERS), ""),
        linked=any(each.situation is not Situation.REDIRECT for each in said),
    )


def _count(texts: CardTexts, said: Sequence[OrderAnswer], orders: int) -> str:
    """For how many of the call's orders the most urgent sentence holds; nothing where there is one order."""
    if orders < 2:
        return ""
    leading = _sentence(texts, said[0])
    count = sum(_sentence(texts, each) == leading for each in said)
    return f" ({count} orders)" if count == orders else f" ({count} of {orders} orders)"


def _sentence(texts: CardTexts, said: OrderAnswer) -> str:
    """What to do, in one short sentence without patient, identifier or diagnosis."""
    determination, name = said.determination, texts.guideline
    if determination is None:
        return f"Coverage under guideline {name} cannot be told at the moment."
    if (template := _SENTENCES.get(said.situation)) is not None:
        count = _asked_first(texts, determination.missing_facts)
        subject = rationale_for(determination) if said.situation is Situation.RATIONALE else ""
        end = said.authorization.end if said.authorization else None
        answers = "answer" if count == 1 else "answers"
        return template.format(name=name, subject=subject, count=count, answers=answers, end=end)
    if said.situation is Situation.CANNOT_TELL:
        return open_question(determination)
    if said.situation is Situation.MEDICARE:
        return f"{texts.instructions[determination.program].rstrip('.')}; a person decides."
    if said.situation is Situation.REDIRECT:
        return f"{texts.instructions[determination.program]} Guideline {name} is not used for this program."
    return _no_auth(texts, said) if said.situation is Situation.NO_AUTH else _reason(said)


def _asked_first(texts: CardTexts, missing: Sequence[str]) -> int:
    """How many questions the form opens with: a question behind another that is open shows itself later."""
    return sum(not (after := texts.asked_after.get(name)) or not after <= set(missing) for name in missing)


def _reason(said: OrderAnswer) -> str:
    return said.answer.reasons[0].text if said.answer and said.answer.reasons else ""


def _no_auth(texts: CardTexts, said: OrderAnswer) -> str:
    meets = said.determination is not None and said.determination.decision is Decision.MEETS
    also = f"appears to meet guideline {texts.guideline}" if meets else f"guideline {texts.guideline} as advice"
    return f"No prior authorization needed; {also}."


def _detail(texts: CardTexts, said: Sequence[OrderAnswer], orders: Mapping[str, Order], *, several: bool) -> list[str]:
    """What to do, the orders that differ, then what is open, criteria and dose of the most urgent order."""
    first = said[0]
    lines = _lead(texts, first)
    if several:
        lines += _order_lines(texts, said, orders)
    if first.situation in _ONE_LINE or first.determination is None:
        return lines + details.closing_lines(texts, dose=False, link=first.situation is not Situation.REDIRECT)
    determination = first.determination
    lines += details.missing_list(texts, determination)
    lines += criteria_table(texts, determination, _name(first.order, orders) if several else "")
    doses = details.distinct([each.determination.dose for each in said if each.determination])
    lines += details.dose_lines(texts, doses)
    lines += _approval(texts, determination)
    lines += details.advice_lines(texts, determination, orders.get(first.order))
    return lines + details.closing_lines(texts, dose=bool(doses))


def _lead(texts: CardTexts, said: OrderAnswer) -> list[str]:
    """What to do first; then why, one point a line."""
    determination, template = said.determination, _TO_DO.get(said.situation)
    sentence = markdown_text(_sentence(texts, said), 600)
    if determination is None or template is None:
        return [sentence]
    count = _asked_first(texts, determination.missing_facts)
    if said.situation is Situation.MEDICARE:
        sentence = markdown_text(_reason(said), 600)
        if not count:
            return [sentence]
    questions = "the question below" if count == 1 else f"the {count} questions below"
    subject = rationale_for(determination)
    lines = [f"**To do:** {template.format(subject=subject, questions=questions)}"]
    if said.situation in {Situation.MEDICARE, Situation.PENDING, Situation.ENDING}:
        return [*lines, "", sentence]
    if said.situation is Situation.MISSING_FACTS and subject:
        if determination.rationale_on_file or any(result.unit_error for result in determination.dose):
            return lines  # the answer is there, or the order is to be checked first: the dose card says so
        lines += ["", f"Then a clinical rationale is needed too, for {subject}:"]
    points = _points(texts, determination)
    return [*lines, "", *(f"- {point}" for point in points)] if points else lines


def _points(texts: CardTexts, determination: OrderDetermination) -> list[str]:
    """What a reviewer will look at, in full words."""
    points = [f"{markdown_text(line)}." for result in determination.dose for line in exceeding(result)]
    for key, result in determination.criteria.items():
        if result.status is Truth.NOT_MET:
            points.append(f"Not shown by what was found: {texts.criteria.get(key, key)}.")
    if renewal_not_stated(determination):
        points.append("The guideline states no criteria for a refill or renewal.")
    return points


def _order_lines(texts: CardTexts, said: Sequence[OrderAnswer], orders: Mapping[str, Order]) -> list[str]:
    """The orders in words; where they differ a line per sentence with those for which it holds (cds-hooks-crd 163)."""
    named: dict[str, list[str]] = {}
    for each in said:
        named.setdefault(_sentence(texts, each), []).append(_name(each.order, orders))
    if len(named) == 1:
        return ["", *(f"For: {'; '.join(names)}." for names in named.values())]
    cited = f" (guideline {texts.guideline})"
    lines = [f"- {'; '.join(names)}: {markdown_text(text.replace(cited, ''))}" for text, names in named.items()]
    return ["", "**Orders**", "", *lines]


def _name(source: str, orders: Mapping[str, Order]) -> str:
    """What a person calls the order."""
    order = orders.get(source)
    return markdown_text(order.text if order and order.text else source, 100)


def _approval(texts: CardTexts, determination: OrderDetermination) -> list[str]:
    duration = texts.durations.get(determination.approval_duration or "")
    return ["", f"Approval duration in the guideline: {duration}."] if duration else []
