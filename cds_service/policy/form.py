"""The coverage questionnaire as values: which questions, in which groups, shown when; all of it follows from the data.

``fhir.questionnaire`` writes it. Items are named as facts are; groups and the items that a form needs beside the facts
have names of their own (``section-...``, ``details_needed``, ``..._cannot_determine``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Final

import msgspec

from cds_service.policy.form_triggers import failing_answers
from cds_service.policy.model import Fact, Guideline, Option

DETAILS: Final = "details_needed"
FINISHED: Final = "clinical-part-finished"
SECTION: Final = "section-"  # begins the name of a group of the form
UNKNOWN: Final = "cannot_determine"
_SUFFIX: Final = "_cannot_determine"
_ATTESTED: Final = "audit"
_REVIEWED: Final = "review"


class Condition(msgspec.Struct, frozen=True):
    """An answer of another item. ``operator``: ``=``, ``<``, ``>`` or ``exists``."""

    item: str
    operator: str
    value: str | Fraction | bool


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One question, group or line of text. ``kind`` as in facts, or ``display``. ``together``: all conditions hold."""

    name: str
    kind: str
    text: str
    help: str = ""
    cite: str = ""
    required: bool = False
    repeats: bool = False
    options: tuple[Option, ...] = ()
    unit: str = ""
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    conditions: tuple[Condition, ...] = ()
    together: bool = False
    who: str = ""
    serves: tuple[str, ...] = ()  # criterion ids
    initial: str = ""
    context: str = ""
    items: tuple[Item, ...] = ()
    extra: bool = False  # no fact: it serves the form itself


class Form(msgspec.Struct, frozen=True):
    """One form. ``facts`` holds the item of each fact, by its name."""

    items: tuple[Item, ...]
    facts: Mapping[str, Item]


def build_form(guideline: Guideline) -> Form:
    """The form of one guideline: request, stem, criteria, order details, rationale, attestation, in this order."""
    groups: dict[str, list[Item]] = {}
    for fact in guideline.facts.values():
        groups.setdefault(group_of(guideline, fact), []).extend(_items(guideline, fact))
    details = _details(guideline)
    if details is not None:
        groups.setdefault("order", []).insert(0, details)
    ordered = sorted(groups.items(), key=lambda pair: _rank(guideline, pair[0]))
    items = tuple(_group(guideline, name, held) for name, held in ordered)
    return Form(items, {item.name: item for group in items for item in group.items if not item.extra})


def walk(items: Iterable[Item]) -> Iterator[Item]:
    """Every item, parents first."""
    for item in items:
        yield item
        yield from walk(item.items)


def group_of(guideline: Guideline, fact: Fact) -> str:
    """The group that a fact is asked in: ``request``, a criterion's id, ``order``, ``rationale`` or ``attestation``."""
    if fact.name == guideline.request_fact:
        return "request"
    if _ATTESTED in fact.feeds:
        return "attestation"
    if _REVIEWED in fact.feeds:
        return "rationale"
    if fact.shown != "always":
        return "order"
    fed = [word for word in fact.feeds if word in guideline.criteria]
    beside = [ident for ident, criterion in guideline.criteria.items() if criterion.cite == fact.cite]
    return (fed or beside or ["order"])[0]


def _rank(guideline: Guideline, name: str) -> int:
    criteria = list(guideline.criteria)
    order = ["request", *criteria, "order", "rationale", "attestation"]
    return order.index(name)


def _group(guideline: Guideline, name: str, items: list[Item]) -> Item:
    criterion = guideline.criteria.get(name)
    texts = {
        "request": "The request",
        "order": "About the order",
        "rationale": "Clinical rationale",
        "attestation": "Attestation",
    }
    text = texts.get(name) or (criterion.text if criterion else name)
    if criterion is not None and name != guideline.stem:
        text = f"{name} {text}"
    if name == "attestation":
        items = [_ATTEST, *items]
    conditions = _shared(items)
    return Item(
        name=SECTION + name,
        kind="group",
        text=text,
        cite=criterion.cite if criterion else "",
        serves=(name,) if criterion else (),
        conditions=conditions,
        items=tuple(items),
        extra=True,
    )


def _shared(items: list[Item]) -> tuple[Condition, ...]:
    """Conditions under which the group has anything to show: those of its first question, where that leads the rest."""
    first = items[0]
    if not first.conditions or first.together:
        return ()
    led = {first.name, *(condition.item for condition in first.conditions)}
    for item in items[1:]:
        if not item.conditions or not any(condition.item in led for condition in item.conditions):
            return ()
        led.add(item.name)
    return first.conditions


_ATTEST: Final = Item(
    name=FINISHED,
    kind="display",
    text=(
        "The clinical part ends here. By signing, the prescriber attests that the answers above are true "
        "and supported by the patient's record."
    ),
    extra=True,
)


def _details(guideline: Guideline) -> Item | None:
    options = tuple(Option(fact.detail.code, fact.label) for fact in guideline.facts.values() if fact.detail)
    if not options:
        return None
    return Item(
        name=DETAILS,
        kind="choice",
        text="Which details does the order leave open?",
        help="Filled in from the order. Add one to answer more questions, or to give a rationale.",
        repeats=True,
        options=options,
        extra=True,
    )


def _items(guideline: Guideline, fact: Fact) -> list[Item]:
    """The item of a fact; for what has no choices and must be answered, also one that says that it cannot be."""
    item = _item(guideline, fact)
    must = item.required or (not fact.advisory and any(part.required for part in item.items))
    if not must or fact.options:
        return [item]
    if len(item.conditions) > 1 and not item.together:
        return [msgspec.structs.replace(item, required=False)]
    escape = Item(
        name=fact.name + _SUFFIX,
        kind="choice",
        text=f"{fact.label}: not known?",
        options=(Option(UNKNOWN, "Cannot be determined"),),
        conditions=item.conditions,
        together=item.together,
        who=fact.who,
        extra=True,
    )
    answered = Condition(escape.name, "exists", value=False)
    asked = msgspec.structs.replace(item, conditions=(*item.conditions, answered), together=True)
    return [escape, asked] if item.items else [asked, escape]


def has_escape(item: Item) -> bool:
    """Whether a question beside this one says that it cannot be answered."""
    return any(condition.operator == "exists" for condition in item.conditions)


def _item(guideline: Guideline, fact: Fact) -> Item:
    population = fact.population
    return Item(
        name=fact.name,
        kind=fact.kind,
        text=fact.text,
        help=fact.help,
        cite=fact.cite,
        required=not fact.advisory and fact.kind != "group",
        repeats=fact.repeats,
        options=fact.options,
        unit=fact.unit.strip(),
        minimum=fact.minimum,
        maximum=fact.maximum,
        conditions=_conditions(guideline, fact),
        who=fact.who,
        serves=tuple(word for word in fact.feeds if word in guideline.criteria),
        initial=population.initial if population else "",
        context=population.context if population else "",
        items=tuple(_part(item, required=_part_needed(guideline, fact, item)) for item in fact.items),
    )


def _part_needed(guideline: Guideline, group: Fact, part: Fact) -> bool:
    """Of an amount: of what and how much; how often and at most may stay open. Of a rationale: its reason."""
    if group.name == guideline.rationale_fact:
        return part is group.items[0]
    return not group.advisory and not part.name.endswith(("_boluses_per_day", "_cap"))


def _part(fact: Fact, *, required: bool) -> Item:
    return Item(
        name=fact.name,
        kind=fact.kind,
        text=fact.text,
        required=required,
        options=fact.options,
        minimum=fact.minimum,
        maximum=fact.maximum,
        who=fact.who,
        cite=fact.cite,
    )


def _conditions(guideline: Guideline, fact: Fact) -> tuple[Condition, ...]:
    conditions = [Condition(one.fact, "=", answer) for one in fact.shown_when for answer in one.answers]
    if fact.detail is not None:
        conditions.append(Condition(DETAILS, "=", fact.detail.code))
    if fact.name == guideline.rationale_fact:
        conditions += [Condition(*each) for each in failing_answers(guideline)]
    return tuple(conditions)
