"""Extension and code system addresses of DTR, CRD and SDC that more than one module of this room spells."""

from __future__ import annotations

DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition"
CRD = "http://hl7.org/fhir/us/davinci-crd"

INTENDED_USE = f"{DTR}/intendedUse"
QR_CONTEXT = f"{DTR}/qr-context"
QR_COVERAGE = f"{DTR}/qr-coverage"
ACTIVE_ROLE = f"{DTR}/activeRole"
COVERAGE_INFORMATION = f"{CRD}/StructureDefinition/ext-coverage-information"
ADAPTIVE = f"{SDC}/sdc-questionnaire-questionnaireAdaptive"
SIGNATURE = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-signature"
SIGNATURE_REQUIRED = "http://hl7.org/fhir/StructureDefinition/questionnaire-signatureRequired"

OUR_BASE = "https://cds.example.org/fhir/StructureDefinition"
DOSE_LIMIT = f"{OUR_BASE}/dose-limit"
