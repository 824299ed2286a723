"""What one launch of the app is about: who, whose chart, at which EHR, with which permissions.

Every launch has a session of its own: its id stands in the path of its pages (``/l/<id>/...``), and the secret that
opens it in a cookie of its own. So two tabs with two patients have nothing in common that could be mixed (SM-46).
"""

from __future__ import annotations

from typing import Any

import msgspec


class FhirUser(msgspec.Struct, frozen=True):
    """Who signed in at the EHR, proved by the id_token (SM-35, SM-37)."""

    reference: str  # "Practitioner/abc", on the launch's own EHR
    name: str = ""  # as the EHR's resource says it, else the id_token; may be empty
    npi: str = ""  # only where the EHR's resource shows one

    @property
    def role(self) -> str:
        """Patient, Practitioner, PractitionerRole, RelatedPerson or Person."""
        return self.reference.partition("/")[0]


class PatientBanner(msgspec.Struct, frozen=True):
    """Whose chart is open, in the words of the EHR's Patient (SM-40). Empty texts: the EHR did not show it."""

    name: str = ""
    birth_date: str = ""  # YYYY-MM-DD
    identifier: str = ""  # the medical record number where marked so, else the first identifier


class ContextItem(msgspec.Struct, frozen=True):
    """One entry of ``fhirContext`` (SM-39). One of reference, canonical, identifier is given; role "" means launch."""

    reference: str = ""  # "Type/id" on the launch's own EHR; other references are left out
    canonical: str = ""
    identifier: dict[str, Any] | None = None
    type: str = ""
    role: str = ""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One open launch. Kept encrypted at the server; the browser knows only ``id``."""

    id: str
    ehr: str  # id of its EhrProfile
    patient: str  # logical id, as the token response says it
    encounter: str = ""  # logical id
    fhir_context: tuple[ContextItem, ...] = ()
    app_context: str = ""  # opaque text as it came (JSON or query string: for dtr/)
    user: FhirUser | None = None
    scopes: tuple[str, ...] = ()  # granted
    need_patient_banner: bool = True
    mode: str = "full"  # or "download_only": the EHR lets us read, not save (SM-22)
    intent: str = ""
    tenant: str = ""
    smart_style_url: str = ""
    banner: PatientBanner = PatientBanner()
    standalone: bool = False

    @property
    def patient_reference(self) -> str:
        """``Patient/<id>``."""
        return f"Patient/{self.patient}"

    @property
    def encounter_reference(self) -> str:
        """``Encounter/<id>``, or "" when the launch has none."""
        return f"Encounter/{self.encounter}" if self.encounter else ""

    @property
    def may_save(self) -> bool:
        """Whether the EHR lets the app create and update QuestionnaireResponses."""
        return self.mode == "full"
