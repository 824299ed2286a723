"""In which order a form is shown: what needs an answer first, then what the chart already answered (DTR 4, AP-18).

A question never jumps while somebody is at it: it belongs to the chart's part exactly while it shows a prefilled answer
or one that replaced it, whatever else happens. A form that wants its own order keeps it: one that is to be filled in
sequence, and one with texts between its questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from smart_app.sdc.view_shapes import FormView, ItemView

_FINISHED = re.compile(r"\bclinical\b.*\b(finished|complete[d]?|done|ends?)\b", re.IGNORECASE | re.DOTALL)
_SEQUENTIAL = frozenset({"sequential", "prior-edit"})


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the page. ``whole`` instead of the three others where the form's own order is kept.

    ``locked``: keys of questions that may only be read, because a sequential form has gone past them.
    ``attested``: keys of the questions that signing answers by itself.
    """

    needs: tuple[ItemView, ...] = ()
    chart: tuple[ItemView, ...] = ()
    more: tuple[ItemView, ...] = ()
    whole: tuple[ItemView, ...] = ()
    locked: frozenset[str] = frozenset()
    attested: tuple[str, ...] = ()
    from_chart: int = 0


def arrange(view: FormView, entry_mode: str, attestation: Iterable[str], *, adaptive: bool = False) -> Layout:
    """The layout of a form.

    ``attestation``: link ids that signing answers. ``adaptive``: each question was asked for now, so none is folded
    away because it is optional.
    """
    names = frozenset(attestation)
    attested = tuple(item.key for item in every(view.items) if item.link_id in names)
    items = without(view.items, names)
    prefilled = sum(1 for item in every(items) if from_chart(item))
    if entry_mode in _SEQUENTIAL:
        shown, locked = _in_sequence(items, lock=entry_mode == "sequential", open_items=view.open_items)
        return Layout(whole=shown, locked=locked, attested=attested, from_chart=prefilled)
    if any(item.control == "display" for item in items) or any(item.control == "row-group" for item in every(items)):
        return Layout(whole=items, attested=attested, from_chart=prefilled)
    return Layout(
        needs=_part(items, "needs", adaptive=adaptive),
        chart=_part(items, "chart", adaptive=adaptive),
        more=_part(items, "more", adaptive=adaptive),
        attested=attested,
        from_chart=prefilled,
    )


def from_chart(item: ItemView) -> bool:
    """Whether the question shows what was prefilled, or what replaced that."""
    if item.control in {"group", "row-group", "display"}:
        return False
    return bool(item.replaced) or any(one.origin is not None and one.origin.is_auto for one in item.answers)


def is_hand_over(item: ItemView) -> bool:
    """Whether this text says that the clinical part ends here, so that somebody else may go on (AP-37)."""
    return item.control == "display" and _FINISHED.search(item.text or "") is not None


def every(items: Iterable[ItemView]) -> Iterable[ItemView]:
    """Items of all levels, in order."""
    for item in items:
        yield item
        yield from every(item.items)
        for row in item.rows:
            yield from every(row)


def without(items: Sequence[ItemView], names: frozenset[str]) -> tuple[ItemView, ...]:
    """The same without some link ids; a group that is empty then is left out."""
    kept = []
    for item in items:
        if item.link_id in names:
            continue
        inner = without(item.items, names)
        if item.items and not inner and item.control == "group":
            continue
        kept.append(msgspec.structs.replace(item, items=inner))
    return tuple(kept)


def _part(items: Sequence[ItemView], part: str, *, adaptive: bool) -> tuple[ItemView, ...]:
    """What of ``items`` belongs into one part; a group stands in each part that has some of its questions."""
    found: list[ItemView] = []
    for item in items:
        if item.control == "group":
            inner = _part(item.items, part, adaptive=adaptive)
            if any(each.control != "display" for each in inner):
                found.append(msgspec.structs.replace(item, items=inner))
        elif item.control == "display" or _belongs(item, adaptive=adaptive) == part:
            found.append(item)
    return tuple(found)


def _belongs(item: ItemView, *, adaptive: bool) -> str:
    if from_chart(item) and not item.problems:
        return "chart"
    if from_chart(item):
        return "chart" if item.replaced else "needs"
    return "needs" if item.required or item.problems or adaptive else "more"


def _in_sequence(
    items: Sequence[ItemView], *, lock: bool, open_items: Sequence[str]
) -> tuple[tuple[ItemView, ...], frozenset[str]]:
    """Top-level items up to the first that is still open; with ``lock`` the ones before it can only be read."""
    shown: list[ItemView] = []
    still_open = set(open_items)
    locked: set[str] = set()
    for item in items:
        shown.append(item)
        held = {each.key for each in every([item])}
        if held & still_open or any(each.problems for each in every([item])):
            break
        locked |= held
    last = {each.key for each in every(shown[-1:])}
    return tuple(shown), frozenset(locked - last) if lock else frozenset()
