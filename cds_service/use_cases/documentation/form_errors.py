"""``$log-questionnaire-errors``: what an app says is wrong with a form of ours, kept and told (PS-26).

A report speaks of a form, never of a patient: one that looks as if it did is refused, and nothing of it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cds_service.backend_clients import BackendCaller
from cds_service.domain.documentation import FormError
from cds_service.errors import RuleBroken, UnknownContext
from cds_service.fhir.dtr.package import outcome
from cds_service.fhir.dtr.parameters import read_errors
from cds_service.ports import Clock, FormStore
from cds_service.use_cases.documentation.forms import Forms, Operation, as_json

_LONGEST = 2_000
# References to people and what belongs to them, dates, numbers of people, addresses: none is needed to tell of a form.
_PERSONAL = re.compile(
    r"\b(Patient|RelatedPerson|Person|Coverage|Encounter|QuestionnaireResponse|Observation|Condition|MedicationRequest)/"
    r"[A-Za-z0-9.\-]+"
    r"|\b(19|20)\d\d-\d\d(-\d\d)?\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b"
    r"|\b\d{3}-\d{2}-\d{4}\b|\b\d{7,}\b|[\w.+-]+@[\w-]+\.\w+"
    r"|\b(MRN|SSN|DOB|date of birth|member id|patient name)\b",
    re.IGNORECASE,
)


class LogFormErrors:
    """The use case. Thread-safe."""

    def __init__(
        self, forms: Forms, store: FormStore, clock: Clock, alert: Callable[[str], None], *, max_bytes: int
    ) -> None:
        """``alert`` gets the word ``form_error`` once per report that was kept."""
        self._forms = forms
        self._store = store
        self._clock = clock
        self._alert = alert
        self._max_bytes = max_bytes

    def answer(self, body: bytes, version: str, caller: BackendCaller) -> Operation:
        """Keep one report.

        Raises MalformedRequest or TooLarge; UnknownContext for a form that is not ours; RuleBroken for a report that
        looks like one about a patient.
        """
        canonicals, errors = read_errors(body, self._max_bytes)
        today = self._clock.now().date()
        if not all(self._forms.find(version, each, today) for each in canonicals):
            raise UnknownContext(
                "this questionnaire is not one of this payer",
                expression="Parameters.parameter.where(name='questionnaire')",
            )
        if any(_PERSONAL.search(text) for error in errors for text in (error.diagnostics, error.expression)):
            raise RuleBroken(
                "a report must not hold data of a patient: references, dates, numbers, names",
                expression="Parameters.parameter.where(name='operationOutcome')",
            )
        self._store.note_form_errors(caller.client.id, tuple(map(_short, errors)), self._clock.now())
        self._alert("form_error")
        said = outcome([("information", "informational", "Noted. Thank you.")])
        return Operation(status=200, body=as_json(said), outcome="noted", questionnaires=len(canonicals))


def _short(error: FormError) -> FormError:
    return FormError(
        error.questionnaire[:_LONGEST],
        error.severity[:32],
        error.code[:64],
        error.expression[:_LONGEST],
        error.diagnostics[:_LONGEST],
    )
