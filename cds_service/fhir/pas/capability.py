"""CapabilityStatement of one PAS base (P005): what is really answered there, and nothing more."""

from __future__ import annotations

from typing import Any, Final

from cds_service.fhir.pas import systems

GUIDES: Final = {"2.0.1": "2.0.1", "2.2": "2.2.1"}
_TOPIC: Final = f"{systems.BACKPORT}/capabilitystatement-subscriptiontopic-canonical"
_BACKPORT_OPERATION: Final = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription"
_SECURITY: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_PROFILES: Final = ("claim", "claim-update", "claim-inquiry")
_INTERACTIONS: Final = ("create", "read", "update", "delete", "search-type")


def capability_statement(version: str, base: str, token_url: str, day: str) -> dict[str, Any]:
    """The statement of the base of ``version``; ``day`` is when it was made, ISO."""
    guide = GUIDES[version]
    operation = f"{systems.PAS}/OperationDefinition"
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{base}/metadata",
        "version": guide,
        "name": "PriorAuthorizationSupport",
        "title": f"Prior authorization of intrathecal therapy, PAS {guide}",
        "status": "active",
        "experimental": False,
        "date": day,
        "publisher": "intrathecal-coverage",
        "description": "Requests for prior authorization, inquiries, and subscriptions to answers. JSON only.",
        "kind": "instance",
        "software": {"name": "intrathecal-coverage"},
        "implementation": {"description": f"PAS {guide}", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "implementationGuide": [f"{systems.PAS}/ImplementationGuide/hl7.fhir.us.davinci-pas|{guide}"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "cors": False,
                    "service": [systems.concept(_SECURITY, "SMART-on-FHIR")],
                    "extension": [
                        {
                            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                            "extension": [{"url": "token", "valueUri": token_url}],
                        }
                    ],
                },
                "resource": [
                    {
                        "type": "Claim",
                        "supportedProfile": [f"{systems.DEFINITION}/profile-{name}" for name in _PROFILES],
                        "operation": [
                            {"name": "submit", "definition": f"{operation}/Claim-submit"},
                            {"name": "inquire", "definition": f"{operation}/Claim-inquiry"},
                        ],
                    },
                    {
                        "type": "Subscription",
                        "extension": [{"url": _TOPIC, "valueCanonical": systems.TOPIC}],
                        "supportedProfile": [f"{systems.DEFINITION}/profile-subscription"],
                        "interaction": [{"code": code} for code in _INTERACTIONS],
                        "operation": [
                            {
                                "name": name,
                                "definition": f"{_BACKPORT_OPERATION}-{name}",
                            }
                            for name in ("status", "events")
                        ],
                    },
                ],
            }
        ],
    }
