"""The coverage questionnaire in FHIR, from the form as values: static, adaptive, and as far as one has grown.

What differs by DTR version is a parameter. Expressions are FHIRPath and FHIR queries; the package has a place for the
Libraries of a CQL twin (``use_cases.documentation.packages``), and items get ``text/cql`` beside these when it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any, Final
from xml.sax.saxutils import escape

import msgspec

from cds_service.domain.quantity import decimal_text
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import ICD10CM, Vocabulary, icd_text
from cds_service.fhir import form_urls as urls
from cds_service.fhir.answers import ADAPTIVE_SUFFIX
from cds_service.fhir.systems import OUR_BASE
from cds_service.policy.form import Condition, Form, Item, has_escape, walk
from cds_service.policy.model import Guideline

Resource = dict[str, Any]

INSIDE: Final = "questionnaire"  # id of the Questionnaire that grows inside a response
_TYPES: Final = {"open_choice": "open-choice"}
_UNITS: Final = {"weeks": ("wk", "weeks"), "days": ("d", "days"), "months": ("mo", "months")}
_UCUM: Final = "http://unitsofmeasure.org"
_RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
_MARK: Final = re.compile(r"\[\[(\w+)\]\]")
_QUICK, _SHORT, _LONGER = 10, 30, 60  # questions that take under 1, 3 and 5 minutes, most of them prefilled


class Writing(msgspec.Struct, frozen=True):
    """What a questionnaire is written with. ``base`` is the FHIR base of the DTR version, without final slash."""

    guideline: Guideline
    form: Form
    vocabulary: Vocabulary
    version: str
    base: str
    policy_url: str


def canonical(guideline: Guideline, *, adaptive: bool = False) -> str:
    """``url|version`` of a guideline's questionnaire."""
    return f"{guideline.canonical}{ADAPTIVE_SUFFIX if adaptive else ''}|{guideline.version}"


def static_questionnaire(writing: Writing) -> Resource:
    """The whole form, with the conditions under which each question is shown."""
    return {
        **_head(writing, adaptive=False, profile=urls.STATIC_PROFILE),
        "extension": [*_population(writing), *_remarks(writing), *_limits(writing)],
        **_named(writing, adaptive=False),
        "item": [_item(writing, item, conditions=True) for item in writing.form.items],
    }


def adaptive_questionnaire(writing: Writing) -> Resource:
    """The form that is asked for question by question; where, says its ``questionnaireAdaptive``."""
    return {
        **_head(writing, adaptive=True, profile=urls.ADAPTIVE_PROFILE),
        "extension": [_adaptive(writing), *_population(writing), *_remarks(writing), *_limits(writing)],
        **_named(writing, adaptive=True),
    }


def grown_questionnaire(writing: Writing, names: Iterable[str]) -> Resource:
    """What an adaptive form has asked so far, to travel inside a response: these questions, without conditions."""
    wanted = frozenset(names)
    kept = [_kept(item, wanted) for item in writing.form.items]
    head = _head(writing, adaptive=True, profile=urls.INSIDE_PROFILE)
    del head["url"]  # its profile allows none: what it is, ``derivedFrom`` says
    return {
        **head,
        "id": INSIDE,
        "extension": [_adaptive(writing), *_population(writing), *_limits(writing)],
        **_named(writing, adaptive=True),
        "derivedFrom": [canonical(writing.guideline, adaptive=True)],
        "item": [_item(writing, item, conditions=False) for item in kept if item is not None],
    }


def _kept(item: Item, wanted: frozenset[str]) -> Item | None:
    if item.name in wanted:
        return item
    held = tuple(inside for inside in (_kept(each, wanted) for each in item.items) if inside is not None)
    return msgspec.structs.replace(item, items=held) if held else None


def decimal(value: Fraction) -> Any:
    """A number as msgspec writes it exactly: a whole number, or a raw decimal."""
    return value.numerator if value.denominator == 1 else msgspec.Raw(decimal_text(value).encode())


def _head(writing: Writing, *, adaptive: bool, profile: str) -> Resource:
    guideline = writing.guideline
    url, _, version = canonical(guideline, adaptive=adaptive).partition("|")
    return {
        "resourceType": "Questionnaire",
        "id": url.rpartition("/")[2],
        "meta": {"profile": [profile]},
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(_title(guideline))}</div>',
        },
        "url": url,
        "version": version,
    }


def _named(writing: Writing, *, adaptive: bool) -> Resource:
    guideline = writing.guideline
    ident = re.sub(r"[^A-Za-z0-9]", "", guideline.id)
    return {
        "name": f"Coverage{ident}{'Adaptive' if adaptive else ''}",
        "title": _title(guideline),
        "status": "active",
        "experimental": True,
        "subjectType": ["Patient"],
        "date": guideline.effective.isoformat(),
        "description": (
            f"What guideline {guideline.id} needs to know of a patient and an order. "
            "Demonstrates a published guideline; not the system of the payer that published it."
        ),
        "effectivePeriod": _period(guideline.effective, guideline.until),
    }


def _title(guideline: Guideline) -> str:
    return f"{guideline.title} ({guideline.id})"


def _period(start: date, end: date | None) -> Resource:
    return {"start": start.isoformat()} | ({"end": end.isoformat()} if end else {})


def _adaptive(writing: Writing) -> Resource:
    return {"url": urls.ADAPTIVE, "valueUrl": writing.base}


def _population(writing: Writing) -> list[Resource]:
    """What the expressions of the form start from: the launch's patient and user, and what is searched for."""
    found = [_launch("patient", "Patient", "Patient"), _launch("user", "User", "Practitioner")]
    for name, text in writing.guideline.searches.items():
        fhirpath = text.startswith("%")
        language = urls.FHIRPATH if fhirpath else urls.QUERY
        expression = text if fhirpath else with_codes(writing.vocabulary, text)
        found.append(
            {
                "url": urls.VARIABLE,
                "valueExpression": {"name": name, "language": language, "expression": expression},
            }
        )
    return found


def _launch(code: str, display: str, kind: str) -> Resource:
    coding = {"system": urls.LAUNCH_CONTEXTS, "code": code, "display": display}
    return {
        "url": urls.LAUNCH_CONTEXT,
        "extension": [{"url": "name", "valueCoding": coding}, {"url": "type", "valueCode": kind}],
    }


def with_codes(vocabulary: Vocabulary, search: str) -> str:
    """A search with the codes of a value set in place of its name."""

    def codes(found: re.Match[str]) -> str:
        held = sorted(vocabulary.value_sets[found[1]].codes)
        return ",".join(f"{code.system}|{_as_written(code)}" for code in held)

    return _MARK.sub(codes, search)


def _as_written(code: Code) -> str:
    return icd_text(code.code) if code.system == ICD10CM else code.code


def _remarks(writing: Writing) -> list[Resource]:
    """What 2.2 says of a form: how long it takes and whom it asks (PS-23)."""
    if writing.version == "2.0.1":
        return []
    asked = sum(item.kind not in {"group", "display"} for item in walk(writing.form.items))
    steps = ((_QUICK, "under-1min"), (_SHORT, "under-3min"), (_LONGER, "under-5min"))
    time = next((code for most, code in steps if asked <= most), "over-5min")
    parts = [{"url": name, "valueCode": time} for name in ("clinicalTime", "totalTime")]
    return [
        {"url": urls.COMPLETION_TIME, "extension": parts},
        {"url": urls.AUDIENCE, "valueCode": "clinical"},
        {"url": urls.REQUEST_SPECIFIC, "valueBoolean": True},
    ]


def _limits(writing: Writing) -> list[Resource]:
    """The guideline's dose table, so that an app may draw amounts against it."""
    codes = {each.name: each.rxcui for each in writing.vocabulary.ingredients.values()}
    found = []
    for drug, row in writing.guideline.dose_table.rows.items():
        coding = {"system": _RXNORM, "code": codes[drug], "display": drug}
        parts: list[Resource] = [{"url": "ingredient", "valueCoding": coding}]
        for name, value, unit in (("daily", row.daily, "mg/d"), ("concentration", row.concentration, "mg/mL")):
            if value is not None:
                amount = {"value": decimal(value), "unit": unit, "system": _UCUM, "code": unit}
                parts.append({"url": name, "valueQuantity": amount})
        parts.append({"url": "cite", "valueString": row.citation})
        found.append({"url": urls.DOSE_LIMIT, "extension": parts})
    return found


def _item(writing: Writing, item: Item, *, conditions: bool, freed: bool = False) -> Resource:
    """One item; ``freed``: it may stay open, because a question beside it, or beside its group, says that it cannot be.

    A form without conditions cannot tell when that was said, so what has such a question is not required there.
    """
    freed = freed or (not conditions and has_escape(item))
    written: Resource = {"linkId": item.name, "text": item.text, "type": _TYPES.get(item.kind, item.kind)}
    extensions = _item_extensions(writing, item)
    if extensions:
        written["extension"] = extensions
    if conditions and item.conditions:
        written["enableWhen"] = [_condition(writing, condition) for condition in item.conditions]
        if len(item.conditions) > 1:
            written["enableBehavior"] = "all" if item.together else "any"
    if item.required and not freed:
        written["required"] = True
    if item.repeats:
        written["repeats"] = True
    if item.options:
        written["answerOption"] = [
            {"valueCoding": coding(writing.guideline, one.code, one.text)} for one in item.options
        ]
    inside = [_item(writing, each, conditions=conditions, freed=freed) for each in item.items]
    if item.help or (item.cite and item.kind not in {"group", "display"} and not _is_part(item)):
        inside.insert(0, _help(writing, item))
    if inside:
        written["item"] = inside
    return written


def _is_part(item: Item) -> bool:
    """An item of a group of amounts: the group has the help."""
    return not item.serves and not item.help and not item.conditions and item.kind in {"string", "decimal", "text"}


def _item_extensions(writing: Writing, item: Item) -> list[Resource]:
    found: list[Resource] = []
    if item.serves or (item.cite and item.kind == "group"):
        found.append(_support_link(writing))
    if item.unit:
        code, text = _UNITS.get(item.unit, ("{" + item.unit + "}", item.unit))
        found.append({"url": urls.UNIT, "valueCoding": {"system": _UCUM, "code": code, "display": text}})
    for url, value in ((urls.MINIMUM, item.minimum), (urls.MAXIMUM, item.maximum)):
        if value is not None:
            found.append({"url": url, "valueDecimal": decimal(value)})
    if item.initial:
        found.append({"url": urls.INITIAL_EXPRESSION, "valueExpression": _fhirpath(item.initial)})
    if item.context:
        found.append(_context(writing, item))
    found += [{"url": urls.SERVES, "valueString": criterion} for criterion in item.serves]
    if item.who:
        found.append({"url": urls.ANSWERED_BY, "valueCode": item.who})
    return found


def _support_link(writing: Writing) -> Resource:
    """The public page of the guideline; 2.2 writes it with a label."""
    url = urls.SUPPORT_LINK[writing.version]
    if writing.version == "2.0.1":
        return {"url": url, "valueUri": writing.policy_url}
    label = f"Guideline {writing.guideline.id}"
    parts = [{"url": "label", "valueString": label}, {"url": "link", "valueUri": writing.policy_url}]
    return {"url": url, "extension": parts}


def _fhirpath(expression: str) -> Resource:
    return {"language": urls.FHIRPATH, "expression": expression}


def _context(writing: Writing, item: Item) -> Resource:
    """Resources that a person may look at before answering; the form's own answer stays theirs."""
    query = {"language": urls.QUERY, "expression": with_codes(writing.vocabulary, item.context)}
    return {
        "url": urls.CONTEXT_EXPRESSION,
        "extension": [
            {"url": "label", "valueString": "In the chart"},
            {"url": "expression", "valueExpression": query},
        ],
    }


def _help(writing: Writing, item: Item) -> Resource:
    section = f"Guideline {writing.guideline.id}, {item.cite}." if item.cite else ""
    control = {"coding": [{"system": urls.ITEM_CONTROLS, "code": "help", "display": "Help-Button"}]}
    return {
        "linkId": f"{item.name}-help",
        "text": " ".join(text for text in (item.help, section) if text),
        "type": "display",
        "extension": [{"url": urls.ITEM_CONTROL, "valueCodeableConcept": control}],
    }


def _condition(writing: Writing, condition: Condition) -> Resource:
    written: Resource = {"question": condition.item, "operator": condition.operator}
    if isinstance(condition.value, bool):
        return {**written, "answerBoolean": condition.value}
    if isinstance(condition.value, Fraction):
        return {**written, "answerDecimal": decimal(condition.value)}
    return {**written, "answerCoding": coding(writing.guideline, condition.value)}


def coding(guideline: Guideline, code: str, display: str = "") -> Resource:
    """A choice answer."""
    return {"system": guideline.answers_system, "code": code} | ({"display": display} if display else {})


def answer_value_set(guideline: Guideline, ident: str, title: str, options: Iterable[tuple[str, str]]) -> Resource:
    """A ValueSet of choices as of the guideline's version, expanded (PS-12)."""
    concepts = [{"code": code, "display": text} for code, text in options]
    contains = [{"system": guideline.answers_system, **concept} for concept in concepts]
    return {
        "resourceType": "ValueSet",
        "id": ident,
        "url": f"{OUR_BASE}/ValueSet/{ident}",
        "version": guideline.version,
        "title": title,
        "status": "active",
        "compose": {"include": [{"system": guideline.answers_system, "concept": concepts}]},
        "expansion": {"total": len(contains), "contains": contains},
    }
