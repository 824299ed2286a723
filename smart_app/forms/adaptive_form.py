"""Adaptive forms: the payer gives its questions piece by piece (requirements AP-22, AP-30, AP-31).

The response travels with the questionnaire inside, which grows with every answer of ``$next-question``; earlier items
and answers stay. When the payer has no further question the form can be signed like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from smart_app.adapters.ehr_client import EhrClient
from smart_app.adapters.payer_client import PayerTrouble
from smart_app.dtr.urls import COVERAGE_INFORMATION, DTR
from smart_app.dtr.wire import payers_own_of
from smart_app.errors import Trouble
from smart_app.forms.coverage_form import CoverageForms, Opened, lookup_of, with_file
from smart_app.forms.opening import TROUBLE_PAGES
from smart_app.forms.parts import FormParts
from smart_app.forms.saving import FormSaving, assertion_in
from smart_app.sdc.adaptive import grow
from smart_app.sdc.populate import populate
from smart_app.sdc.shapes import UnusableQuestionnaire
from smart_app.sessions import Launch

Resource = dict[str, Any]


class NotReady(Exception):
    """There is still something to answer before the payer is asked for more (AP-22)."""


class AdaptiveForms:
    """Asks for the next questions. Thread-safe."""

    def __init__(self, parts: FormParts, forms: CoverageForms, saving: FormSaving) -> None:
        """``forms`` keeps what is changed, ``saving`` writes the response that is sent."""
        self._parts = parts
        self._forms = forms
        self._saving = saving

    def next(self, launch: Launch, ehr: EhrClient, opened: Opened) -> Opened:
        """The form with the questions that come next. Raises NotReady, and Trouble with the payer's page."""
        begun = opened if opened.file.grown is not None else with_file(opened, grown=first_questionnaire(opened))
        if opened.file.grown is None and opened.form.items:
            return self._forms.keep(launch, begun)  # its first questions came with the package
        if opened.file.grown is not None and not opened.view.ready:
            raise NotReady
        known = msgspec.structs.replace(begun.file.filling, unasked={})  # the payer's questions and nothing beside them
        response = self._saving.response(launch, with_file(begun, filling=known), "in-progress")
        try:
            answer = self._parts.payers.next_question(opened.payer, opened.entry.adaptive, response)
        except PayerTrouble as trouble:
            page = TROUBLE_PAGES[trouble.kind]
            raise Trouble(page, trouble.kind, details=tuple(text for _, text in trouble.messages)) from None
        try:
            grown = grow(begun.form, begun.file.filling, answer, begun.package.value_sets)
        except UnusableQuestionnaire as reason:
            raise Trouble("form_unusable", "next_question", details=reason.reasons) from None
        told = tuple(each for each in dicts(answer.get("extension")) if each.get("url") == COVERAGE_INFORMATION)
        later = msgspec.structs.replace(begun, form=grown.form)
        later = with_file(
            later,
            filling=grown.filling,
            grown=dict(grown.questionnaire),
            finished=grown.done,
            payers_own=payers_own_of(answer) or begun.file.payers_own,
            coverage_information=told or begun.file.coverage_information,
            changed=True,
        )
        done = populate(later.form, later.file.filling, later.context, lookup_of(ehr))
        later = with_file(later, filling=done.filling, found=dict(done.context.found))
        return self._forms.keep(launch, later)

    def dispute(self, launch: Launch, opened: Opened, assertion: str) -> Opened:
        """The clinician says that an answer of the payer that nobody asked for is wrong (AP-31)."""
        known = {assertion_in(each) for each in opened.file.coverage_information}
        if assertion not in known:
            return opened
        disputed = tuple(sorted({*opened.file.disputed, assertion}))
        return self._forms.keep(launch, with_file(opened, disputed=disputed))


def first_questionnaire(opened: Opened) -> Resource:
    """The contained questionnaire of the first call, derived from the payer's: with the items that came with it."""
    source = opened.package.questionnaire
    names = ("url", "version", "title", "name", "subjectType", "extension", "effectivePeriod", "item")
    kept: Resource = {name: source[name] for name in names if source.get(name)}
    return {
        "resourceType": "Questionnaire",
        "meta": {"profile": [f"{DTR}/dtr-questionnaire-adapt"]},
        **kept,
        "derivedFrom": [opened.entry.canonical],
        "status": word(source.get("status")) or "active",
    }


def keep_on_order(ehr: EhrClient, opened: Opened) -> tuple[str, ...]:
    """Write the payer's answer on the orders it is about, in the place of an earlier one of the same key (AP-30).

    The key is coverage and assertion. Gives a sentence for each order that could not be written.
    """
    told = [each for each in opened.file.coverage_information if assertion_in(each) not in opened.file.disputed]
    failed = []
    for name in opened.chart.orders if told else ():
        seen = ehr.read(name)
        if seen.one is None:
            failed.append(f"{name} could not be read, so the payer's answer is not on it.")
            continue
        order = seen.one
        new = {_key(each) for each in told}
        others = [
            each
            for each in dicts(order.get("extension"))
            if each.get("url") != COVERAGE_INFORMATION or _key(each) not in new
        ]
        if ehr.update({**order, "extension": [*others, *told]}, seen.etag).state != "saved":
            failed.append(f"The EHR did not take the payer's answer onto {name}.")
    return tuple(failed)


def further_questionnaires(opened: Opened) -> tuple[str, ...]:
    """Canonicals that the payer's answer asks for and that are not open yet (AP-30)."""
    open_now = {each.canonical.partition("|")[0] for each in opened.work.forms}
    asked = [
        word(part.get("valueCanonical"))
        for told in opened.file.coverage_information
        for part in dicts(told.get("extension"))
        if part.get("url") == "questionnaire"
    ]
    return tuple(dict.fromkeys(each for each in asked if each and each.partition("|")[0] not in open_now))


def _key(extension: Mapping[str, Any]) -> tuple[str, str]:
    parts = list(dicts(extension.get("extension")))
    coverage = next((p.get("valueReference") for p in parts if p.get("url") == "coverage"), None)
    return word(coverage.get("reference")) if isinstance(coverage, Mapping) else "", assertion_in(dict(extension))
