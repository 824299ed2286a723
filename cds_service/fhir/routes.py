"""By which route an order goes in: codes first, whole words second, nothing guessed (guideline analysis 3.3)."""

from __future__ import annotations

import re
from typing import Any

from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.fhir.solutions import codes_of, members_of, text_of

_WORDS = re.compile(r"[a-z]+")
_DENIALS = frozenset({"not", "no", "non", "never", "except", "avoid", "without", "instead", "or"})
_OF_BEFORE = frozenset({"stop", "stopped", "discontinue", "replaces", "after", "previous", "failed"})
NEURAXIAL = (RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL, RouteGroup.INTRASPINAL)


def order_route(stated: list[Any], vocabulary: Vocabulary) -> tuple[RouteGroup | None, bool, str]:
    """One route for the whole order: a neuraxial one before any other; two different ones are "intraspinal"."""
    if not stated:
        return None, False, ""
    if len(stated) == 1:
        group = route_group(stated[0], vocabulary)
        return group, group is None, text_of(stated[0])
    groups = [(group, route) for route in stated if (group := route_group(route, vocabulary)) is not None]
    neuraxial = [(group, route) for group, route in groups if group in NEURAXIAL]
    if len({group for group, _ in neuraxial}) > 1:
        return RouteGroup.INTRASPINAL, False, " / ".join(dict.fromkeys(text_of(route) for _, route in neuraxial))
    chosen = (neuraxial or groups)[:1]
    if not chosen:
        return None, True, text_of(stated[0])
    return chosen[0][0], False, text_of(chosen[0][1])


def route_group(concept: Any, vocabulary: Vocabulary) -> RouteGroup | None:
    """By code, else by the whole text; None when neither is known or two codes disagree."""
    if type(concept) is not dict:
        return None
    found: RouteGroup | None = None
    for code in codes_of(concept):
        group = vocabulary.routes.get(code)
        if group is not None and found is not None and group is not found:
            return None
        found = group or found
    if found is not None:
        return found
    words = [
        concept.get("text"),
        *(coding.get("display") for coding in members_of(concept, "coding") if type(coding) is dict),
    ]
    for word in words:
        if type(word) is str:
            group = vocabulary.route_words.get(" ".join(word.lower().split())) or _named(word, vocabulary)
            if group is not None:
                return group
    return None


def _named(text: str, vocabulary: Vocabulary) -> RouteGroup | None:
    """The one neuraxial route that a longer text names ("intrathecal via pump"); None beside another or a denial."""
    words = _WORDS.findall(text.lower())
    groups = {vocabulary.route_words[word] for word in words if word in vocabulary.route_words}
    if len(groups) != 1 or not _DENIALS.isdisjoint(words):
        return None
    (group,) = groups
    return group if group in NEURAXIAL else None


def elsewhere(dosage: Any, vocabulary: Vocabulary) -> bool:
    """Whether the words of a Dosage name routes that are all outside the spine; "instead of oral" names none."""
    if type(dosage) is not dict:
        return False
    route = dosage.get("route")
    for text in (dosage.get("text"), route.get("text") if type(route) is dict else None):
        words = _WORDS.findall(text.lower()) if type(text) is str else []
        groups = {vocabulary.route_words[each] for each in words if each in vocabulary.route_words}
        if groups and groups.isdisjoint(NEURAXIAL) and (_DENIALS | _OF_BEFORE).isdisjoint(words):
            return True
    return False
