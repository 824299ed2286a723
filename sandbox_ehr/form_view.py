"""Saved questionnaires as a chart shows them: questions with their answers, status, author, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, abort, render_template

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.order_words import day_words, unit_words
from sandbox_ehr.parts import the_samples, the_store
from sandbox_ehr.search import patient_of
from sandbox_ehr.store import version_of

blueprint = Blueprint("forms", __name__)
_NAMES = ("display", "title", "code", "reference", "contentType")
DEEPEST = 12  # levels of groups


class Row(msgspec.Struct, frozen=True):
    """A question and what was answered; a group has no answers."""

    depth: int
    text: str
    answers: tuple[str, ...]


class SavedForm(msgspec.Struct, frozen=True):
    """One saved questionnaire in one line."""

    id: str
    status: str
    author: str
    saved: str
    version: int
    answers: int


def saved_form(response: Resource) -> SavedForm:
    """What a chart's list tells of it."""
    author = response.get("author") or {}
    return SavedForm(
        id=str(response["id"]),
        status=str(response.get("status", "")),
        author=str(author.get("display") or author.get("reference") or "somebody"),
        saved=str(response.get("meta", {}).get("lastUpdated") or response.get("authored", "")),
        version=version_of(response),
        answers=sum(bool(row.answers) for row in rows(response)),
    )


def rows(response: Resource) -> list[Row]:
    """Every question that was sent, in order."""
    return list(_rows(response.get("item"), 0))


@blueprint.get("/patients/<patient>/forms/<ident>")
def form_page(patient: str, ident: str) -> str:
    """One saved questionnaire with its earlier versions."""
    sample = the_samples().get(patient)
    found = the_store().read("QuestionnaireResponse", ident)
    if sample is None or found is None or patient_of(found) != patient:
        abort(404)
    return render_template(
        "form.html",
        sample=sample,
        form=saved_form(found),
        rows=rows(found),
        versions=[saved_form(one) for one in the_store().versions("QuestionnaireResponse", ident)],
    )


def _rows(items: Any, depth: int) -> Iterator[Row]:
    for item in items if isinstance(items, list) and depth < DEEPEST else []:
        if not isinstance(item, dict):
            continue
        answers = [one for one in item.get("answer") or [] if isinstance(one, dict)]
        yield Row(depth, _asked(item), tuple(_words(one) for one in answers))
        yield from _rows(item.get("item"), depth + 1)
        for answer in answers:
            yield from _rows(answer.get("item"), depth + 1)


def _asked(item: dict[str, Any]) -> str:
    """The question; of one that a response does not repeat, its id as words."""
    return str(item.get("text") or str(item.get("linkId", "")).replace("_", " ").capitalize())


def _words(answer: dict[str, Any]) -> str:
    kind: str
    value: Any
    kind, value = next(((name, held) for name, held in answer.items() if name.startswith("value")), ("", ""))
    if kind == "valueBoolean":
        return "Yes" if value else "No"
    if kind in {"valueDate", "valueDateTime"}:
        return day_words(str(value))
    if kind == "valueQuantity":
        return f"{value.get('value', '')} {unit_words(str(value.get('unit') or value.get('code', '')))}".strip()
    if isinstance(value, dict):  # Coding, Reference, Attachment
        return str(next((value[name] for name in _NAMES if value.get(name)), ""))
    return str(value)
