"""The answer to ``$questionnaire-package``, as a payer of any DTR version writes it (AP-08, AP-22, AP-34).

Accepted: Parameters with ``PackageBundle`` (2.0.1, 2.1), ``packagebundle`` (2.2) or ``return`` (the operation's own
name), or a bare Bundle. Messages come as ``outcome`` or ``operationOutcome``, or as an OperationOutcome alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.dates import day
from smart_app.dtr.urls import ADAPTIVE, DTR, SIGNATURE_REQUIRED

Resource = dict[str, Any]

_BUNDLES = frozenset({"packagebundle", "return"})  # compared in lower case
_ADAPTIVE_PROFILES = frozenset({f"{DTR}/dtr-questionnaire-adapt", f"{DTR}/dtr-questionnaire-adapt-search"})
_OUTCOMES = frozenset({"outcome", "operationoutcome"})


class FormPackage(msgspec.Struct, frozen=True):
    """One questionnaire with what it needs. ``draft`` is the payer's own start of an answer, None without one.

    ``value_sets`` are ValueSets, and CodeSystems where a payer sends them along.
    """

    questionnaire: Resource
    draft: Resource | None = None
    value_sets: tuple[Resource, ...] = ()
    libraries: tuple[Resource, ...] = ()

    @property
    def canonical(self) -> str:
        """``url|version``, the version left out where there is none.

        An adaptive questionnaire may come without an address of its own, as in the guide's examples; then it is called
        by what it is derived from. "": nothing says it.
        """
        version = word(self.questionnaire.get("version"))
        url = word(self.questionnaire.get("url"))
        if not url:
            derived = self.questionnaire.get("derivedFrom")
            return word(derived[0]) if isinstance(derived, list) and derived else ""
        return f"{url}|{version}" if version else url

    @property
    def title(self) -> str:
        """What people call the form."""
        known = (word(self.questionnaire.get(key)) for key in ("title", "name"))
        return next((text for text in known if text), "Coverage questionnaire")

    @property
    def adaptive(self) -> str:
        """Where ``$next-question`` is asked, "" for a form that is complete: the payer says which of the two it is.

        A bare ``true`` means the payer's own base, which is written ``"."`` here; so does a questionnaire without items
        that says by its profile alone what it is, as the guide's own example does.
        """
        for extension in dicts(self.questionnaire.get("extension")):
            if extension.get("url") == ADAPTIVE:
                if extension.get("valueBoolean") is True:
                    return "."
                return word(extension.get("valueUrl") or extension.get("valueUri"))
        meta = self.questionnaire.get("meta")
        profiles = meta.get("profile") if isinstance(meta, dict) else None
        said = {word(each).partition("|")[0] for each in profiles} if isinstance(profiles, list) else set()
        return "." if said & _ADAPTIVE_PROFILES and not self.questionnaire.get("item") else ""

    @property
    def signature_required(self) -> bool:
        """Whether the form as a whole asks for a signature (AP-28)."""
        return any(each.get("url") == SIGNATURE_REQUIRED for each in dicts(self.questionnaire.get("extension")))

    def expired(self, on: date) -> bool:
        """Whether the questionnaire's effective period is over (AP-09)."""
        effective = self.questionnaire.get("effectivePeriod")
        end = day(effective.get("end"), last=True) if isinstance(effective, Mapping) else None
        return end is not None and end < on


class Packages(msgspec.Struct, frozen=True):
    """All that the payer sent. ``messages``: (severity, text), for a person; ``unreadable``: bundles without a form."""

    forms: tuple[FormPackage, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    unreadable: int = 0


def read_packages(body: Any) -> Packages:
    """Read an answer's body; what is no package in it is counted, never an error."""
    if not isinstance(body, Mapping):
        return Packages(unreadable=1)
    kind = body.get("resourceType")
    if kind == "Bundle":
        return _joined([body], [])
    if kind == "OperationOutcome":
        return _joined([], [body])
    if kind != "Parameters":
        return Packages(unreadable=1)
    held = [
        (word(part.get("name")).lower(), part["resource"])
        for part in dicts(body.get("parameter"))
        if isinstance(part.get("resource"), dict)
    ]
    bundles = [resource for name, resource in held if name in _BUNDLES and resource.get("resourceType") == "Bundle"]
    outcomes = [
        resource for name, resource in held if name in _OUTCOMES or resource.get("resourceType") == "OperationOutcome"
    ]
    return _joined(bundles, outcomes)


def messages_of(outcome: Any) -> tuple[tuple[str, str], ...]:
    """Severity and text of each issue of an OperationOutcome that says something to a person."""
    if not isinstance(outcome, Mapping):
        return ()
    found = []
    for issue in dicts(outcome.get("issue")):
        details = issue.get("details")
        text = word(details.get("text")) if isinstance(details, Mapping) else ""
        text = text or word(issue.get("diagnostics"))
        if text:
            found.append((word(issue.get("severity")) or "information", text))
    return tuple(dict.fromkeys(found))


def _joined(bundles: Iterable[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]]) -> Packages:
    forms: dict[str, FormPackage] = {}
    unreadable = 0
    for bundle in bundles:
        held = _forms(bundle)
        unreadable += not held
        for form in held:
            forms.setdefault(form.canonical, form)
    said = tuple(message for outcome in outcomes for message in messages_of(outcome))
    return Packages(tuple(forms.values()), said, unreadable)


def _forms(bundle: Mapping[str, Any]) -> list[FormPackage]:
    """One for each questionnaire: the guide's own examples put two into one Bundle."""
    held = [entry["resource"] for entry in dicts(bundle.get("entry")) if isinstance(entry.get("resource"), dict)]
    by_type = {kind: [one for one in held if one.get("resourceType") == kind] for kind in _WANTED}
    questionnaires, drafts = by_type["Questionnaire"], by_type["QuestionnaireResponse"]
    value_sets = (*by_type["ValueSet"], *by_type["CodeSystem"])
    libraries = tuple(by_type["Library"])
    found = [FormPackage(each, None, value_sets, libraries) for each in questionnaires]
    if len(found) == 1:
        return [msgspec.structs.replace(found[0], draft=drafts[0] if drafts else None)]
    return [msgspec.structs.replace(form, draft=_draft_of(form, drafts)) for form in found]


def _draft_of(form: FormPackage, drafts: Iterable[Resource]) -> Resource | None:
    url = form.canonical.partition("|")[0]
    return next((each for each in drafts if word(each.get("questionnaire")).partition("|")[0] == url), None)


_WANTED = ("Questionnaire", "QuestionnaireResponse", "ValueSet", "CodeSystem", "Library")
