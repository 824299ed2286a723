"""The CapabilityStatement of a DTR base (PS-02)."""

from __future__ import annotations

from typing import Any, Final

from cds_service.fhir.systems import OUR_BASE

_DTR: Final = "http://hl7.org/fhir/us/davinci-dtr"
_SDC_NEXT: Final = "http://hl7.org/fhir/uv/sdc/OperationDefinition/Questionnaire-next-question"
_VERSION: Final = "0.1.0"
_DATE: Final = "2026-03-02"
_OPERATIONS: Final = (
    ("questionnaire-package", f"{_DTR}/OperationDefinition/questionnaire-package"),
    ("log-questionnaire-errors", f"{_DTR}/OperationDefinition/log-questionnaire-errors"),
    ("next-question", _SDC_NEXT),
)
_SECURITY: Final = {
    "service": [
        {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                    "display": "SMART-on-FHIR",
                }
            ]
        }
    ],
    "description": "SMART Backend Services: private_key_jwt with RS384 or ES384, system scopes.",
}


def capability_statement(version: str, base: str | None = None) -> dict[str, Any]:
    """What the base of a DTR version offers; ``base`` is its address, None for the published form."""
    ident = f"dtr-payer-{version.replace('.', '-')}"
    expand = {"name": "expand", "definition": "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"}
    operations = [{"name": name, "definition": definition} for name, definition in _OPERATIONS]
    statement: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "id": ident,
        "url": f"{OUR_BASE}/CapabilityStatement/{ident}",
        "version": _VERSION,
        "name": f"DtrPayer{version.replace('.', '')}",
        "title": f"Coverage questionnaires by DTR {version}",
        "status": "active",
        "experimental": True,
        "date": _DATE,
        "description": (
            "Questionnaire packages, adaptive forms, errors of forms, value sets. "
            "Demonstrates a published guideline. Not the system of the payer that published it."
        ),
        "kind": "instance" if base else "requirements",
        "instantiates": [f"{_DTR}/CapabilityStatement/dtr-payer-service"],
        "implementationGuide": [f"{_DTR}/ImplementationGuide/hl7.fhir.us.davinci-dtr|{version}"],
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": _SECURITY,
                "resource": [
                    {
                        "type": "Questionnaire",
                        "interaction": [{"code": "read"}, {"code": "search-type"}],
                        "searchParam": [{"name": "url", "type": "uri"}],
                        "operation": operations,
                    },
                    {"type": "ValueSet", "interaction": [{"code": "read"}], "operation": [expand]},
                ],
                "operation": [*operations, expand],
            }
        ],
    }
    if base:
        statement["implementation"] = {"description": "This service", "url": base}
        statement["software"] = {"name": "cds-service"}
    return statement
