"""The gate's rules of an inquiry (PAS rows P020-P022, P025, P067, P073)."""

from __future__ import annotations

from collections.abc import Iterator

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import PasBundle, has_code
from cds_service.fhir.pas.gate_claim import CLAIM, dicts_of, header_issues, service_coded
from cds_service.fhir.pas.inquiry import member_of
from cds_service.fhir.pas.issues import Issue


def inquiry_issues(bundle: PasBundle, version: str) -> Iterator[Issue]:
    """Everything wrong with an inquiry: who asks, whom, about whom."""
    del version
    claim = bundle.claim.resource
    yield from header_issues(bundle, most_identifiers=1)
    for number, item in enumerate(dicts_of(claim.get("item"))):
        code = item.get("productOrService")
        anything = has_code(code, systems.ABSENT_REASON, "not-applicable")
        if not anything and not service_coded(code):
            text = "productOrService needs a code of a service, or not-applicable for all"
            yield Issue("P025", "code-invalid", text, f"{CLAIM}.item[{number}].productOrService")
    provider = bundle.one(claim.get("provider"), bundle.claim)
    if provider is not None and provider.kind == "Organization" and not _identified(provider.resource):
        yield Issue("P067", "required", "the organization that asks needs an identifier", f"{CLAIM}.provider")
    if not member_of(bundle):
        text = "an inquiry needs the member's number: an identifier of the Patient or Coverage of type MB"
        yield Issue("P067", "required", text, f"{CLAIM}.patient")


def _identified(resource: dict[str, object]) -> bool:
    return any(word(each.get("value")) for each in dicts(resource.get("identifier")))
