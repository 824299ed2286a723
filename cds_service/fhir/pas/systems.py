"""URLs and codes of PAS: the one place where they are spelt. Of X12's lists only codes that the public guide shows."""

from __future__ import annotations

from typing import Any

PAS = "http://hl7.org/fhir/us/davinci-pas"
DEFINITION = f"{PAS}/StructureDefinition"
TOPIC = f"{PAS}/SubscriptionTopic/PASSubscriptionTopic"
TEMP_CODES = f"{PAS}/CodeSystem/PASTempCodes"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

X12 = "https://codesystem.x12.org/005010"
REVIEW_ACTION = f"{X12}/306"
CERTIFICATION_TYPE = f"{X12}/1322"
REQUEST_TYPE = f"{X12}/1525"
SERVICE_TYPE = f"{X12}/1365"
LEVEL_OF_SERVICE = f"{X12}/1338"
RELATIONSHIP = f"{X12}/1069"
UNITS = f"{X12}/673"
REJECT_REASON = f"{X12}/901"
FOLLOW_UP = f"{X12}/889"
ENTITY = f"{X12}/98"
REPORT_TYPE = f"{X12}/755"
DECISION_REASON = "https://codesystem.x12.org/external/886"

INITIAL, APPEAL, CANCEL = "I", "1", "3"  # of 1322
URGENT = "U"  # of 1338
SELF = "18"  # of 1069
CANCELLED = "C"  # of 306, from public secondary lists: to be checked against a licensed one
APPLICATION_ERROR, REQUEST_ERROR = "04", "T4"  # of 901
CORRECT_AND_RESUBMIT = "C"  # of 889

HCPCS_OF_PAS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
HCPCS = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"  # FHIR's own spelling of the same list
CPT = "http://www.ama-assn.org/go/cpt"
NDC = "http://hl7.org/fhir/sid/ndc"
SERVICE_SYSTEMS = frozenset({
    HCPCS_OF_PAS, HCPCS, CPT, NDC, SERVICE_TYPE,
    "http://www.cms.gov/Medicare/Coding/ICD10", "https://www.cms.gov/Medicare/Coding/ICD10",
    "http://hl7.org/fhir/sid/icd-10-pcs", "http://hl7.org/fhir/sid/icd-9-cm", "http://hl7.org/fhir/sid/icd-9",
    "http://terminology.hl7.org/CodeSystem/icd9", "http://terminology.hl7.org/CodeSystem/icd9cm",
    "https://www.nubc.org/CodeSystem/RevenueCodes",
})  # fmt: skip
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
DIAGNOSIS_SYSTEMS = frozenset({
    ICD10CM, "http://hl7.org/fhir/sid/icd-9-cm", "http://hl7.org/fhir/sid/icd-9", "http://terminology.hl7.org/CodeSystem/icd9cm",
    "http://www.cms.gov/Medicare/Coding/ICD10", "https://www.cms.gov/Medicare/Medicare-Fee-for-Service-Payment/AcuteInpatientPPS/MS-DRG-Classifications-and-Software",
    "http://terminology.hl7.org/CodeSystem/drg", "https://www.cms.gov/drg", "http://www.cms.gov/drg",
})  # fmt: skip
NPI = "http://hl7.org/fhir/sid/us-npi"
ADJUDICATION = "http://terminology.hl7.org/CodeSystem/adjudication"
CLAIM_TYPE = "http://terminology.hl7.org/CodeSystem/claim-type"
RELATED_CLAIM = "http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship"
ABSENT_REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
DTR_DOCUMENTS = "102089-0"  # LOINC: a prior-authorization questionnaire is wanted, launched by its DTR context


def extension(name: str) -> str:
    """URL of an extension of PAS."""
    return f"{DEFINITION}/extension-{name}"


INFO_CANCELLED = f"{DEFINITION}/modifierextension-infoCancelled"
CERTIFICATION = extension("certificationType")
REQUESTED_SERVICE = extension("requestedService")
TRACE_NUMBER = extension("itemTraceNumber")
AUTHORIZATION_NUMBER = extension("authorizationNumber")
REFERENCE_NUMBER = extension("administrationReferenceNumber")
LEVEL = extension("levelOfServiceCode")
CODE_END = extension("productOrServiceCodeEnd")
INFO_CHANGED = extension("infoChanged")
TRANSMISSION = extension("TransmissionIdentifiers")
CONTEXT_NUMBER = "https://cds.example.org/fhir/NamingSystem/dtr-context"


def concept(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept of one code."""
    return {"coding": [{"system": system, "code": code}]}
