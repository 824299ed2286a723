"""The forms of all guidelines, written once per process for each DTR version: a call only puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from cds_service.fhir.answer_sets import ChoiceSet, choice_sets
from cds_service.fhir.answers import ADAPTIVE_SUFFIX
from cds_service.fhir.form_urls import VERSIONS
from cds_service.fhir.questionnaire import (
    Writing,
    adaptive_questionnaire,
    canonical,
    static_questionnaire,
)
from cds_service.policy.form import Form, build_form
from cds_service.use_cases.decide import GuidelineRules, Rules

encode = msgspec.json.Encoder(decimal_format="number").encode


class Written(msgspec.Struct, frozen=True):
    """One questionnaire in one DTR version. ``text`` is JSON; ``url`` and ``version`` are those of its canonical."""

    rules: GuidelineRules
    writing: Writing
    adaptive: bool
    text: bytes

    @property
    def form(self) -> Form:
        """The form as values."""
        return self.writing.form

    @property
    def canonical(self) -> str:
        """``url|version``."""
        return canonical(self.rules.guideline, adaptive=self.adaptive)


class Forms(msgspec.Struct, frozen=True):
    """All questionnaires. ``libraries`` of a form (CQL and ELM) will stand beside it, by canonical."""

    by_canonical: Mapping[tuple[str, str], Written]  # (DTR version, url|version)
    choices: Mapping[str, ChoiceSet]  # by id of the ValueSet
    libraries: Mapping[str, tuple[tuple[str, msgspec.Raw], ...]] = {}  # url|version -> (fullUrl, Library)

    def find(self, version: str, asked: str, today: date) -> Written | None:
        """The questionnaire of a canonical; without a version the one in force, else the newest."""
        exact = self.by_canonical.get((version, asked))
        if exact is not None or "|" in asked:
            return exact
        held = [each for (of, name), each in self.by_canonical.items() if of == version and _url(name) == asked]
        in_force = [each for each in held if each.rules.guideline.in_force(today)]
        return max(in_force or held, key=lambda each: each.rules.guideline.effective, default=None)

    def twin(self, version: str, name: str, *, adaptive: bool) -> Written | None:
        """The form of a canonical ``url|version`` as a whole, or its adaptive twin."""
        url, _, of = name.partition("|")
        url = url.removesuffix(ADAPTIVE_SUFFIX) + (ADAPTIVE_SUFFIX if adaptive else "")
        return self.by_canonical.get((version, f"{url}|{of}"))


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one operation, and what its log line and its record of metrics may hold: no PHI."""

    status: int
    body: bytes
    outcome: str  # a word of a closed list
    context: str = ""
    questionnaires: int = 0
    items: int = 0


def _url(name: str) -> str:
    return name.partition("|")[0]


def prepare_forms(rules: Rules, public_url: str) -> Forms:
    """Write every questionnaire of every guideline version."""
    found: dict[tuple[str, str], Written] = {}
    for each in rules.guidelines:
        form = build_form(each.guideline)
        for version in VERSIONS:
            writing = Writing(
                each.guideline, form, rules.vocabulary, version, f"{public_url}/dtr/{version}", each.texts.policy_url
            )
            for adaptive, write in ((False, static_questionnaire), (True, adaptive_questionnaire)):
                written = Written(each, writing, adaptive, encode(write(writing)))
                found[version, written.canonical] = written
    sets = {held.ident: held for each in rules.guidelines for held in choice_sets(each.guideline.facts.values())}
    return Forms(found, sets)


def changed_at(written: Written, known: date | None) -> datetime:
    """When a form with its draft changed last: its guideline took effect, or the order was judged."""
    day = max(filter(None, (written.rules.guideline.effective, known)))
    return datetime.fromisoformat(f"{day.isoformat()}T00:00:00+00:00")


def as_json(resource: Any) -> bytes:
    """A resource as text; numbers keep their digits."""
    return encode(resource)
