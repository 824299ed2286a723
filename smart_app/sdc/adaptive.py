"""Adaptive forms: the payer's next questions join the form, and nothing that was there is lost (AP-22, PS-28)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from smart_app.sdc import keys
from smart_app.sdc.filling import Filling, Origin, initial_states
from smart_app.sdc.form import read_form
from smart_app.sdc.response import from_response
from smart_app.sdc.shapes import Form, UnusableQuestionnaire


class Grown(msgspec.Struct, frozen=True):
    """The longer form and its filling. ``questionnaire`` is the contained one, to be sent back with the answers."""

    form: Form
    filling: Filling
    questionnaire: Mapping[str, Any]
    fresh: tuple[str, ...] = ()
    done: bool = False


def contained_questionnaire(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The questionnaire inside a response of ``$next-question``: the one that it names, else the only one."""
    every = [one for one in response.get("contained") or () if isinstance(one, Mapping)]
    found = [one for one in every if one.get("resourceType") == "Questionnaire"]
    name = response.get("questionnaire")
    named = [one for one in found if isinstance(name, str) and name.startswith("#") and one.get("id") == name[1:]]
    return named[0] if named else found[0] if len(found) == 1 else None


def grow(form: Form, filling: Filling, response: Mapping[str, Any], value_sets: Iterable[Any] = ()) -> Grown:
    """The form after one ``$next-question``.

    Answers that were there stay as they are, whatever the response says of them; what the payer filled in for new
    items joins as the payer's. Raises UnusableQuestionnaire, also when earlier questions have vanished or changed.
    """
    questionnaire = contained_questionnaire(response)
    if questionnaire is None:
        raise UnusableQuestionnaire(("The payer's answer holds no questions.",))
    grown = read_form({**form.raw, **questionnaire, "contained": _contained(form, questionnaire)}, value_sets)
    changed = [link for link, item in form.by_link.items() if not _stands(grown, link, item.type, form)]
    if changed:
        raise UnusableQuestionnaire((f"The payer took back or changed the question {changed[0]}.",))
    fresh = tuple(link for link in grown.by_link if link not in form.by_link)
    theirs = from_response(grown, response, auto=Origin.AUTO_SERVER)
    states = {**initial_states(grown.items, ""), **theirs.states, **filling.states}
    kept = {key: state for key, state in states.items() if key in filling.states or _is_fresh(key, fresh)}
    merged = msgspec.structs.replace(filling, states=kept, rows={**theirs.rows, **filling.rows})
    return Grown(grown, merged, questionnaire, fresh, done=response.get("status") in {"completed", "amended"})


def _contained(form: Form, questionnaire: Mapping[str, Any]) -> list[Any]:
    """Value sets that either of them carries."""
    return [*(form.raw.get("contained") or ()), *(questionnaire.get("contained") or ())]


def _stands(grown: Form, link: str, kind: str, form: Form) -> bool:
    item = grown.by_link.get(link)
    return item is not None and item.type == kind and grown.parents[link] == form.parents[link]


def _is_fresh(key: str, fresh: tuple[str, ...]) -> bool:
    return keys.link_id(key) in fresh
