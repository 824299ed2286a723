"""Addresses of extensions and code systems that forms and their answers are written with."""

from __future__ import annotations

from typing import Final

from cds_service.fhir.systems import OUR_BASE

CORE: Final = "http://hl7.org/fhir/StructureDefinition"
SDC: Final = "http://hl7.org/fhir/uv/sdc/StructureDefinition"
DTR: Final = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"
OURS: Final = f"{OUR_BASE}/StructureDefinition"

VERSIONS: Final = ("2.0.1", "2.2")
FHIRPATH: Final = "text/fhirpath"
QUERY: Final = "application/x-fhir-query"

ADAPTIVE: Final = f"{SDC}/sdc-questionnaire-questionnaireAdaptive"
LAUNCH_CONTEXT: Final = f"{SDC}/sdc-questionnaire-launchContext"
LAUNCH_CONTEXTS: Final = "http://hl7.org/fhir/uv/sdc/CodeSystem/launchContext"
VARIABLE: Final = f"{CORE}/variable"
INITIAL_EXPRESSION: Final = f"{SDC}/sdc-questionnaire-initialExpression"
CONTEXT_EXPRESSION: Final = f"{SDC}/sdc-questionnaire-contextExpression"
ITEM_CONTROL: Final = f"{CORE}/questionnaire-itemControl"
ITEM_CONTROLS: Final = "http://hl7.org/fhir/questionnaire-item-control"
SUPPORT_LINK: Final = {
    "2.0.1": f"{CORE}/questionnaire-supportLink",
    "2.2": f"{CORE}/questionnaire-supportHyperlink",
}
UNIT: Final = f"{CORE}/questionnaire-unit"
MINIMUM: Final = f"{CORE}/minValue"
MAXIMUM: Final = f"{CORE}/maxValue"

COMPLETION_TIME: Final = f"{DTR}/estimated-completion-time"
AUDIENCE: Final = f"{DTR}/questionnaireAudience"
REQUEST_SPECIFIC: Final = f"{DTR}/request-specific"
INFORMATION_ORIGIN: Final = f"{DTR}/information-origin"
INTENDED_USE: Final = f"{DTR}/intendedUse"
QR_CONTEXT: Final = f"{DTR}/qr-context"
QR_COVERAGE: Final = f"{DTR}/qr-coverage"
INTENDED_USES: Final = {
    "2.0.1": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp",
    "2.2": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/coverage-information-codes",
}
STATIC_PROFILE: Final = f"{DTR}/dtr-std-questionnaire"
ADAPTIVE_PROFILE: Final = f"{DTR}/dtr-questionnaire-adapt-search"
INSIDE_PROFILE: Final = f"{DTR}/dtr-questionnaire-adapt"
RESPONSE_PROFILE: Final = f"{DTR}/dtr-questionnaireresponse"
ADAPTIVE_RESPONSE_PROFILE: Final = {
    "2.0.1": f"{SDC}/sdc-questionnaireresponse-adapt",  # 2.0.1 has none of its own
    "2.2": f"{DTR}/dtr-questionnaireresponse-adapt",
}
PACKAGE_PROFILE: Final = f"{DTR}/DTR-QPackageBundle"

DOSE_LIMIT: Final = f"{OURS}/dose-limit"
SERVES: Final = f"{OURS}/serves-criterion"
ANSWERED_BY: Final = f"{OURS}/answered-by"
EVIDENCE: Final = f"{OURS}/answer-evidence"
