"""One form of a launch: open it filled as far as chart and payer know, take answers, look at it (AP-11 to AP-20).

Nothing here completes a form or sends anything to the EHR: that is ``form_saving``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from cds_service.fhir.concepts import dicts
from cds_service.fhir.operation_outcome import operation_outcome
from smart_app.adapters.ehr_client import EhrClient, Seen
from smart_app.dtr.wire import intended_use_of, others_of, payers_own_of
from smart_app.errors import Trouble
from smart_app.forms.chart_reads import at_once
from smart_app.forms.parts import FormParts
from smart_app.forms.state import (
    ChartCopy,
    Failed,
    FormEntry,
    FormFile,
    FormStore,
    LeftBehind,
    PackageCopy,
    Work,
    decode_package,
)
from smart_app.registry import PayerProfile
from smart_app.sdc import filling as fillings
from smart_app.sdc.adaptive import contained_questionnaire
from smart_app.sdc.context import Context, Found
from smart_app.sdc.filling import Author, Filling, Origin
from smart_app.sdc.form import read_form
from smart_app.sdc.populate import Change as ChartChange
from smart_app.sdc.populate import Populated, accept, populate, preview, recalculate, start
from smart_app.sdc.response import from_response, with_authors
from smart_app.sdc.shapes import Form, Fragment, UnusableQuestionnaire
from smart_app.sdc.view import view
from smart_app.sdc.view_shapes import FormView
from smart_app.sessions import Launch


class Answered(msgspec.Struct, frozen=True):
    """A person's answer at one place; no ``values``: the answer is taken away."""

    key: str
    values: tuple[Fragment, ...]


class RowAdded(msgspec.Struct, frozen=True):
    """One more row of a group that repeats."""

    key: str


class RowRemoved(msgspec.Struct, frozen=True):
    """Row ``number``, from 1, is taken out."""

    key: str
    number: int


Change = Answered | RowAdded | RowRemoved


class Opened(msgspec.Struct, frozen=True):
    """A form that somebody looks at."""

    work: Work
    chart: ChartCopy
    entry: FormEntry
    package: PackageCopy
    form: Form
    file: FormFile
    version: int
    payer: PayerProfile

    @property
    def context(self) -> Context:
        """The surroundings, as the form engine wants them."""
        return Context(self.file.as_of, launch_resources(self.chart), self.file.found)

    @property
    def view(self) -> FormView:
        """The form as it is shown now."""
        return view(self.form, self.file.filling, self.context)

    @property
    def author(self) -> Author:
        """Who answers."""
        return self.work.author


def launch_resources(chart: ChartCopy) -> dict[str, Any]:
    """What expressions find under ``%patient`` and the like."""
    held = {"patient": chart.patient, "user": chart.user, "encounter": chart.encounter, "coverage": chart.coverage}
    for order in chart.orders.values():
        held.setdefault("order", order)
        kind = str(order.get("resourceType", ""))
        held.setdefault(kind[:1].lower() + kind[1:], order)
    return {name: resource for name, resource in held.items() if resource}


class CoverageForms:
    """Opens and changes forms. Thread-safe: all state is in the store."""

    def __init__(self, parts: FormParts) -> None:
        """``parts`` are shared by all launches."""
        self.parts = parts

    def work(self, launch: Launch) -> Work | None:
        """What this launch is about; None before it was opened."""
        return FormStore(self.parts.store, launch.id).work()

    def open(self, launch: Launch, ehr: EhrClient, number: int) -> Opened:
        """The form; filled from chart and payer when it is opened first. Raises Trouble ``no_such_form``."""
        store = FormStore(self.parts.store, launch.id)
        work = store.work()
        blob = store.package(number)
        entry = next((each for each in work.forms if each.number == number), None) if work is not None else None
        if work is None or blob is None or entry is None:
            raise Trouble("no_such_form")
        if entry.unusable:
            raise Trouble("form_unusable", details=entry.unusable)
        chart, package, payer = store.chart(), decode_package(blob), self.parts.registry.payers[work.payer]
        kept = store.form(number)
        if kept is not None:
            form = read_kept(blob) if kept.file.grown is None else read_form(kept.file.grown, package.value_sets)
            return Opened(work, chart, entry, package, form, kept.file, kept.version, payer)
        form, grown = as_left(read_kept(blob), package.saved or {}, package, adaptive=bool(entry.adaptive))
        begun = self._begun(form, package)
        file = msgspec.structs.replace(begun, canonical=entry.canonical, orders=work.wanted.orders, grown=grown)
        opened = Opened(work, chart, entry, package, form, file, 0, payer)
        opened = self._filled(opened, ehr)
        return self.keep(launch, opened)

    def change(self, opened: Opened, changes: Sequence[Change]) -> Opened:
        """Answers and rows taken in, and what depends on them recalculated (AP-20). Raises ``UnknownKey``."""
        filling = opened.file.filling
        for change in changes:
            filling = _changed(opened.form, filling, change, opened.author)
        if filling is opened.file.filling:
            return opened
        settled = recalculate(opened.form, filling, opened.context)
        return with_file(opened, filling=settled.filling, changed=True)

    def look_again(self, ehr: EhrClient, opened: Opened) -> tuple[tuple[ChartChange, ...], Opened]:
        """What the chart would say now where the form says something else, and the form with what was looked up."""
        fresh = with_file(opened, found={}, as_of=self.parts.now())
        look, found = lookup_of(ehr), dict[str, Found]()

        def noting(queries: Sequence[str]) -> Mapping[str, Seen]:
            seen = look(queries)
            found.update({query: Found(each.state, each.resources, each.why) for query, each in seen.items()})
            return seen

        changes = preview(fresh.form, fresh.file.filling, fresh.context, noting)
        return changes, with_file(fresh, found=found)

    def take(self, launch: Launch, looked: Opened, changes: Sequence[ChartChange], chosen: Sequence[str]) -> Opened:
        """Take over the changes that the person chose; every other answer stays (SD-15)."""
        filling = accept(looked.file.filling, changes, chosen)
        settled = recalculate(looked.form, filling, looked.context)
        return self.keep(launch, with_file(looked, filling=settled.filling, changed=bool(chosen)))

    def left_behind(self, launch: Launch, opened: Opened) -> LeftBehind | None:
        """What the same person entered earlier and did not save; asked only before anything is entered anew."""
        if opened.version != 1:
            return None
        return FormStore(self.parts.store, launch.id).left_behind(opened.entry.canonical, opened.work.wanted.orders)

    def take_over(self, launch: Launch, opened: Opened, *, wanted: bool) -> Opened:
        """Go on with what was left behind, or forget it."""
        left = self.left_behind(launch, opened)
        if left is None:
            return opened
        FormStore(self.parts.store, launch.id).forget(left)
        if wanted:
            opened = msgspec.structs.replace(opened, file=left.file)
        return self.keep(launch, opened)

    def keep(self, launch: Launch, opened: Opened) -> Opened:
        """Keep it under the next version. Raises FormChanged when another request was quicker."""
        store = FormStore(self.parts.store, launch.id)
        version = store.keep_form(opened.entry.number, opened.file, opened.version)
        return msgspec.structs.replace(opened, version=version)

    def _begun(self, form: Form, package: PackageCopy) -> FormFile:
        """Before the chart is asked: the draft that is resumed, else the payer's draft, else what the form says."""
        now = self.parts.now()
        identifier = f"urn:uuid:{self.parts.new_id()}"
        intended = intended_use_of(package.draft or {}) or FormFile(as_of=now).intended_use
        kept = payers_own_of(package.saved or {})
        known = {each.get("url") for each in kept}
        payers_own = (*kept, *(each for each in payers_own_of(package.draft or {}) if each.get("url") not in known))
        if package.saved is not None:
            resumed = _resumed(form, package, now, identifier, intended)
            return msgspec.structs.replace(resumed, payers_own=payers_own)
        filling = start(form)
        if package.draft is not None:
            filling = _joined(filling, from_response(form, package.draft, auto=Origin.AUTO_SERVER))
        return FormFile(filling=filling, as_of=now, identifier=identifier, intended_use=intended, payers_own=payers_own)

    def _filled(self, opened: Opened, ehr: EhrClient) -> Opened:
        """Population (AP-13, AP-14, AP-16), and a report to the payer of what failed, free of patient data (AP-25)."""
        done: Populated = populate(opened.form, opened.file.filling, opened.context, lookup_of(ehr))
        failures = tuple(Failed(each.where, each.text) for each in done.failures)
        reported = opened.file.reported
        noticed = [(each.where, each.code, each.text) for each in opened.form.notices]
        said = noticed + [(each.where, each.code, each.text) for each in done.failures]
        if said and not reported:
            outcome = operation_outcome((_ISSUES.get(code, "processing"), text, where) for where, code, text in said)
            reported = self.parts.payers.report_errors(opened.payer, opened.entry.canonical, outcome)
        found = dict(done.context.found)
        return with_file(opened, filling=done.filling, found=found, failures=failures, reported=reported)


_ISSUES = {"cql-population": "not-supported", "cql-flow": "not-supported", "value-set": "not-found"}


def lookup_of(ehr: EhrClient) -> Callable[[Sequence[str]], Mapping[str, Seen]]:
    """Runs the relative queries of a form against the EHR: all that are wanted at one time at once."""

    def ask(query: str) -> Seen:
        path, _, parameters = query.partition("?")
        if "/" in path and not parameters:
            return ehr.read(path)
        return ehr.search(path, parse_qsl(parameters, keep_blank_values=True))

    def asking(query: str) -> Callable[[], Seen]:
        return lambda: ask(query)

    return lambda queries: at_once({query: asking(query) for query in queries})


def with_file(opened: Opened, **changes: Any) -> Opened:
    """The same with another state of the form."""
    return msgspec.structs.replace(opened, file=msgspec.structs.replace(opened.file, **changes))


@lru_cache(maxsize=64)
def read_kept(blob: bytes) -> Form:
    """A form out of its kept package; read once per process and package."""
    package = decode_package(blob)
    return read_form(package.questionnaire, package.value_sets)


def as_left(
    form: Form, saved: dict[str, Any], package: PackageCopy, *, adaptive: bool
) -> tuple[Form, dict[str, Any] | None]:
    """An adaptive form as far as it had grown in a saved draft, with that questionnaire; any other form as it is."""
    inside = contained_questionnaire(saved) if adaptive else None
    if inside is None or not inside.get("item"):
        return form, None
    try:
        return read_form(inside, package.value_sets), dict(inside)
    except UnusableQuestionnaire:
        return form, None  # its questions are asked for anew, and the answers stay beside the form


def _resumed(form: Form, package: PackageCopy, now: datetime, identifier: str, intended: tuple[str, ...]) -> FormFile:
    saved = package.saved or {}
    meta = saved.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    filling, writer = from_response(form, saved, auto=Origin.AUTO_CLIENT), saved.get("author")
    if isinstance(writer, dict) and isinstance(writer.get("reference"), str):
        filling = with_authors(filling, Author(writer["reference"], str(writer.get("display", "")), {}))
    own = [each for each in dicts([saved.get("identifier")]) if str(each.get("value", "")).startswith("urn:uuid:")]
    return FormFile(
        filling=filling,
        as_of=now,
        ident=str(saved.get("id", "")),
        etag=f'W/"{version}"' if isinstance(version, str) else "",
        identifier=str(own[0]["value"]) if own else identifier,
        intended_use=intended_use_of(saved) or intended,
        others=others_of(saved),
    )


def _joined(initial: Filling, draft: Filling) -> Filling:
    """What the form itself suggests, and over it what the payer's draft answers."""
    return msgspec.structs.replace(
        draft, states={**initial.states, **draft.states}, rows={**initial.rows, **draft.rows}
    )


def _changed(form: Form, filling: Filling, change: Change, author: Author) -> Filling:
    if isinstance(change, Answered):
        return fillings.answer(form, filling, change.key, change.values, author)
    if isinstance(change, RowAdded):
        return fillings.add_row(form, filling, change.key)
    return fillings.remove_row(form, filling, change.key, change.number)
