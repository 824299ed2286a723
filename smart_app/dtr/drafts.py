"""Saved responses: which can be gone on with, and which belongs to a form (requirements AP-05, AP-10, AP-17)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cds_service.fhir.concepts import dicts, word
from smart_app.dtr.context import Wanted, from_draft

Resource = dict[str, Any]


def in_progress(responses: Iterable[Resource]) -> list[Resource]:
    """Those that can be gone on with; a completed one is never used again (AP-10)."""
    return [each for each in responses if each.get("status") == "in-progress"]


def draft_for(canonical: str, drafts: Sequence[Resource], wanted: Wanted) -> Resource | None:
    """The latest draft of this form about the same order, or about one that was not signed then."""
    url = canonical.partition("|")[0]
    found = [each for each in drafts if questionnaire_of(each) == url and _about(each, wanted)]
    named = [each for each in found if f"QuestionnaireResponse/{each.get('id')}" == wanted.response]
    return max(named or found, key=lambda each: word(each.get("authored")), default=None)


def questionnaire_of(response: Resource) -> str:
    """The questionnaire's address; of an adaptive one, that of the questionnaire inside or what it derives from."""
    text = word(response.get("questionnaire"))
    if not text.startswith("#"):
        return text.partition("|")[0]
    for inside in dicts(response.get("contained")):
        if f"#{inside.get('id')}" == text:
            derived = inside.get("derivedFrom")
            origin = derived[0] if isinstance(derived, list) and derived else inside.get("url")
            return word(origin).partition("|")[0]
    return ""


def _about(response: Resource, wanted: Wanted) -> bool:
    theirs = {name.rpartition("/")[2] for name in from_draft(response, None).orders}
    ours = {name.rpartition("/")[2] for name in wanted.orders}
    return not theirs or not ours or bool(theirs & ours) or _unsigned(response)


def _unsigned(response: Resource) -> bool:
    """It names an order only by its draft's id, which nobody else can find again."""
    links = [each.get("valueReference") for each in dicts(response.get("extension"))]
    return any(isinstance(link, dict) and "identifier" in link and "reference" not in link for link in links)
