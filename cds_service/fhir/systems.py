"""Code systems, extension URLs and our own canonical base: the one place where such URLs are spelt."""

from __future__ import annotations

SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
LOINC = "http://loinc.org"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"
CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"

IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
SIGNATURE = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-signature"
STATUS_CHANGED = "http://hl7.org/fhir/5.0/StructureDefinition/extension-MedicationRequest.statusChanged"

OUR_BASE = "https://cds.example.org/fhir"
BILLING_OPTIONS = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"
