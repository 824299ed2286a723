"""The lists of choices of coverage questionnaires, as ValueSets: one per distinct list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from cds_service.policy.model import Fact

_YES_NO = frozenset({"yes", "no", "cannot_determine"})


class ChoiceSet(msgspec.Struct, frozen=True):
    """One list; ``options`` are (code, text)."""

    ident: str
    title: str
    options: tuple[tuple[str, str], ...]


def choice_sets(facts: Iterable[Fact]) -> Iterator[ChoiceSet]:
    """Each distinct list once, named for the first fact that uses it; last, what an order may leave open."""
    facts = tuple(facts)
    seen: set[tuple[tuple[str, str], ...]] = set()
    for fact in choices(facts):
        listed = tuple((option.code, option.text) for option in fact.options)
        if listed in seen:
            continue
        seen.add(listed)
        yes_no = {code for code, _ in listed} == _YES_NO
        ident = "yes-no-cannot-determine" if yes_no else fact.name.replace("_", "-")
        title = "Yes, no, or cannot be determined" if yes_no else f"Answers of {fact.name}"
        yield ChoiceSet(ident, title, listed)
    left_open = tuple(dict.fromkeys((fact.detail.code, fact.label) for fact in facts if fact.detail is not None))
    if left_open:
        yield ChoiceSet("details-needed", "Details that an order leaves open", left_open)


def choices(facts: Iterable[Fact]) -> Iterator[Fact]:
    """Every fact with options, those inside groups too."""
    for fact in facts:
        if fact.options:
            yield fact
        yield from choices(fact.items)
