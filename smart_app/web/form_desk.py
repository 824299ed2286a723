"""The use cases of forms, as pages reach them."""

from __future__ import annotations

import msgspec
from flask import current_app

from smart_app.forms.adaptive_form import AdaptiveForms
from smart_app.forms.coverage_form import CoverageForms
from smart_app.forms.parts import FormParts
from smart_app.forms.saving import FormSaving


class FormDesk(msgspec.Struct, frozen=True):
    """All of them (``app.extensions["forms"]``)."""

    parts: FormParts
    forms: CoverageForms
    saving: FormSaving
    adaptive: AdaptiveForms


def desk() -> FormDesk:
    """Those of this process, inside a request."""
    found: FormDesk = current_app.extensions["forms"]
    return found
