"""Addresses of code systems and extensions that a PAS request or response uses; each once."""

from __future__ import annotations

from typing import Final

PAS: Final = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/"
PAS_CODES: Final = "http://hl7.org/fhir/us/davinci-pas/CodeSystem/PASTempCodes"
TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
CRD_COVERAGE_INFORMATION: Final = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"

HCPCS: Final = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
CPT: Final = "http://www.ama-assn.org/go/cpt"
NDC: Final = "http://hl7.org/fhir/sid/ndc"
ICD10CM: Final = "http://hl7.org/fhir/sid/icd-10-cm"
NPI: Final = "http://hl7.org/fhir/sid/us-npi"
PLACE_OF_SERVICE: Final = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
# Codes of X12 are licensed: only those that the published guide itself shows are written anywhere here.
X12: Final = "https://codesystem.x12.org/005010/"
REVIEW_ACTION: Final = f"{X12}306"

BILLABLE: Final = (
    HCPCS,
    CPT,
    NDC,
)  # what Claim.item.productOrService may hold for drugs, procedures and devices (P025)
DTR_CONTEXT_LOINC: Final = "102089-0"  # a request for documentation whose trace number is a DTR context
