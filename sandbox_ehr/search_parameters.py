"""Which searches this server answers: the parameters of each resource type that it keeps."""

from __future__ import annotations

# Parameter -> (kind, element paths). A parameter that is not listed is refused, never ignored: a search that silently
# drops a filter would tell the asker more than it asked for.
EVERYWHERE = {"_id": ("id", ("id",)), "_lastUpdated": ("date", ("meta.lastUpdated",))}
_SUBJECT = dict.fromkeys(("patient", "subject"), ("reference", ("subject",)))
_DRUG = {"code": ("token", ("medicationCodeableConcept",)), "medication": ("reference", ("medicationReference",))}
PARAMETERS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "Patient": {"identifier": ("token", ("identifier",))},
    "Coverage": {
        "patient": ("reference", ("beneficiary",)),
        "beneficiary": ("reference", ("beneficiary",)),
        "status": ("token", ("status",)),
        "type": ("token", ("type",)),
    },
    "Encounter": {
        **_SUBJECT,
        "status": ("token", ("status",)),
        "class": ("token", ("class",)),
        "type": ("token", ("type",)),
        "date": ("date", ("period",)),
    },
    "Condition": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "category": ("token", ("category",)),
        "clinical-status": ("token", ("clinicalStatus",)),
        "verification-status": ("token", ("verificationStatus",)),
        "onset-date": ("date", ("onsetDateTime", "onsetPeriod")),
        "recorded-date": ("date", ("recordedDate",)),
        "encounter": ("reference", ("encounter",)),
    },
    "MedicationRequest": {
        **_SUBJECT,
        **_DRUG,
        "identifier": ("token", ("identifier",)),
        "status": ("token", ("status",)),
        "intent": ("token", ("intent",)),
        "authoredon": ("date", ("authoredOn",)),
        "encounter": ("reference", ("encounter",)),
    },
    "MedicationStatement": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "effective": ("date", ("effectiveDateTime", "effectivePeriod")),
    },
    "MedicationDispense": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "whenhandedover": ("date", ("whenHandedOver",)),
    },
    "MedicationAdministration": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "effective-time": ("date", ("effectiveDateTime", "effectivePeriod")),
    },
    "Medication": {"code": ("token", ("code",))},
    "Observation": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "category": ("token", ("category",)),
        "status": ("token", ("status",)),
        "date": ("date", ("effectiveDateTime", "effectivePeriod")),
    },
    "Procedure": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "status": ("token", ("status",)),
        "date": ("date", ("performedDateTime", "performedPeriod")),
    },
    "Device": {
        "patient": ("reference", ("patient",)),
        "type": ("token", ("type",)),
        "status": ("token", ("status",)),
    },
    "DeviceUseStatement": {**_SUBJECT, "status": ("token", ("status",))},
    "AllergyIntolerance": {
        "patient": ("reference", ("patient",)),
        "code": ("token", ("code",)),
        "clinical-status": ("token", ("clinicalStatus",)),
        "date": ("date", ("recordedDate",)),
    },
    "QuestionnaireResponse": {
        **_SUBJECT,
        "identifier": ("token", ("identifier",)),
        "context": ("context", ("extension",)),
        "questionnaire": ("uri", ("questionnaire",)),
        "status": ("token", ("status",)),
        "authored": ("date", ("authored",)),
    },
    "ServiceRequest": {
        **_SUBJECT,
        "identifier": ("token", ("identifier",)),
        "code": ("token", ("code",)),
        "status": ("token", ("status",)),
        "intent": ("token", ("intent",)),
        "authored": ("date", ("authoredOn",)),
    },
    "DeviceRequest": {
        **_SUBJECT,
        "identifier": ("token", ("identifier",)),
        "code": ("token", ("codeCodeableConcept",)),
        "status": ("token", ("status",)),
        "intent": ("token", ("intent",)),
        "authored-on": ("date", ("authoredOn",)),
    },
    "ClaimResponse": {
        "patient": ("reference", ("patient",)),
        "identifier": ("token", ("identifier",)),
        "status": ("token", ("status",)),
        "created": ("date", ("created",)),
    },
    "Task": {
        "patient": ("reference", ("for",)),
        "identifier": ("token", ("identifier",)),
        "status": ("token", ("status",)),
        "focus": ("reference", ("focus",)),
        "authored-on": ("date", ("authoredOn",)),
    },
    "DocumentReference": {
        **_SUBJECT,
        "identifier": ("token", ("identifier",)),
        "status": ("token", ("status",)),
        "type": ("token", ("type",)),
        "date": ("date", ("date",)),
    },
    "Practitioner": {"identifier": ("token", ("identifier",))},
    "PractitionerRole": {
        "practitioner": ("reference", ("practitioner",)),
        "organization": ("reference", ("organization",)),
        "role": ("token", ("code",)),
    },
    "Organization": {"identifier": ("token", ("identifier",))},
}
TYPES = tuple(PARAMETERS)
# Types that belong to no patient: reachable by scope alone.
SHARED_TYPES = frozenset({"Medication", "Practitioner", "PractitionerRole", "Organization"})
