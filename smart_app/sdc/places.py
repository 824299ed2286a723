"""All places of a filled form: each item once, and once more for every row."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from smart_app.sdc import keys
from smart_app.sdc.filling import Filling
from smart_app.sdc.shapes import Form, Item

MAX_PLACES = 20_000


class Place(msgspec.Struct, frozen=True):
    """One item at one key. ``above`` is the key of what holds it, with its row; empty at the root."""

    key: str
    item: Item
    above: str


def places(form: Form, filling: Filling) -> Iterator[Place]:
    """Every place, parents before children, in the order of the form."""
    yield from _below(form.items, "", filling)


def _below(items: tuple[Item, ...], above: str, filling: Filling) -> Iterator[Place]:
    for item in items:
        key = keys.below(above, item.link_id)
        yield Place(key, item, above)
        if item.items:
            for holder in holders(key, item, filling):
                yield from _below(item.items, holder, filling)


def holders(key: str, item: Item, filling: Filling) -> tuple[str, ...]:
    """The keys that children of ``key`` stand below: itself, or each of its rows."""
    if not keys.has_rows(item):
        return (key,)
    count = filling.row_count(key, item) if item.is_row_group else max(len(filling.state(key).answers), 1)
    return tuple(keys.row(key, number) for number in range(1, min(count, MAX_PLACES) + 1))


def nearest(candidates: tuple[str, ...], key: str) -> tuple[str, ...]:
    """Those of several keys of one item that are closest to ``key``: of its own row where it has one."""
    if len(candidates) < 2:
        return candidates
    here = key.split("/")

    def shared(candidate: str) -> int:
        count = 0
        for one, other in zip(candidate.split("/"), here, strict=False):
            if one != other:
                break
            count += 1
        return count

    best = max(shared(one) for one in candidates)
    return tuple(one for one in candidates if shared(one) == best)
