"""What can be sent to the payer now: signed orders, finished forms, coverage, and the clinic that asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cds_service.fhir.patient_gate import PatientGate
from cds_service.fhir.references import host_of
from smart_app.adapters.ehr_client import EhrClient
from smart_app.dtr.context import Wanted
from smart_app.dtr.payer_choice import payer_of
from smart_app.errors import Trouble
from smart_app.forms.chart_reads import related
from smart_app.pas.closure import Resource
from smart_app.pas.ready import Choice, FormChoice, choices, finished_forms, npis, organization
from smart_app.pas.request import ORDER_TYPES, CodeNeeded, lines_of
from smart_app.registry import PayerProfile
from smart_app.sessions import Launch


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a person sees before sending. ``problems`` say in words why it cannot be sent as it is."""

    payer: PayerProfile | None
    coverage: Resource | None
    choices: tuple[Choice, ...]
    forms: tuple[FormChoice, ...]
    codes: tuple[CodeNeeded, ...]
    problems: tuple[str, ...]


def ready(
    launch: Launch,
    ehr: EhrClient,
    wanted: Wanted,
    payers: Sequence[PayerProfile],
    chosen: Sequence[str] | None = None,
    codes: Mapping[str, Mapping[str, str]] | None = None,
    with_forms: Sequence[str] | None = None,
) -> Ready:
    """What could be sent now.

    ``chosen`` and ``with_forms``: names of orders and forms that a person ticked; None: those that are meant.
    """
    host = host_of(ehr.profile.iss)
    asked: dict[str, tuple[str, Any]] = {kind: (kind, {"patient": launch.patient}) for kind in ORDER_TYPES}
    asked |= {kind: (kind, {"patient": launch.patient}) for kind in ("QuestionnaireResponse", "Coverage")}
    seen = ehr.search_many(asked)
    orders = [each for kind in ORDER_TYPES for each in seen[kind].resources if each.get("resourceType") == kind]
    found = choices(orders, wanted, host, related(ehr, orders))
    ticked = tuple(
        msgspec.structs.replace(each, meant=each.meant if chosen is None else each.name in chosen) for each in found
    )
    picked = [each for each in ticked if each.meant]
    coverages = [each for each in seen["Coverage"].resources if each.get("resourceType") == "Coverage"]
    coverage = _coverage(coverages, picked, wanted) or _named_coverage(launch, ehr, picked, wanted)
    payer = payer_of(coverage, _organizations(ehr, coverage), payers) if coverage else None
    held = f"Coverage/{coverage['id']}" if coverage else ""
    forms = finished_forms(seen["QuestionnaireResponse"].resources, picked, held, host)
    if with_forms is not None:
        forms = tuple(msgspec.structs.replace(each, meant=each.name in with_forms) for each in forms)
    words = {each.name: each.words for each in picked}
    _, open_codes = lines_of([each.order for each in picked], codes or {})
    return Ready(
        payer=payer,
        coverage=coverage,
        choices=ticked,
        forms=forms,
        codes=tuple(CodeNeeded(each.order, words[each.order]) for each in open_codes),
        problems=tuple(_problems(found, picked, coverage, payer, seen)),
    )


def provider_of(ehr: EhrClient, order: Resource, new_id: Callable[[], str]) -> tuple[Resource, bool]:
    """The organization that asks: the requester's, else the one that the EHR's registration names."""
    profile = ehr.profile
    requester = str((order.get("requester") or {}).get("reference", ""))
    role: Resource | None = None
    if requester.startswith("PractitionerRole/"):
        role = ehr.read(requester).one
    elif requester.startswith("Practitioner/"):
        found = ehr.search("PractitionerRole", {"practitioner": requester.partition("/")[2]})
        role = next((each for each in found.resources if each.get("organization")), None)
    named = str(((role or {}).get("organization") or {}).get("reference", ""))
    clinic = ehr.read(named).one if named.startswith("Organization/") else None
    if clinic is not None and npis(clinic):
        return clinic, False
    if profile.organization_npi:
        name = profile.organization_name or profile.name
        return organization(name, profile.organization_npi, new_id()), True
    if role is not None:
        return role, False
    raise Trouble("cannot_submit", details=("Neither the EHR nor its registration says which clinic asks.",))


def _organizations(ehr: EhrClient, coverage: Resource) -> dict[str, Resource]:
    """Payors that the coverage names by reference, as far as the EHR shows them."""
    named = [str(each.get("reference", "")) for each in coverage.get("payor") or [] if isinstance(each, dict)]
    read = {name: ehr.read(name).one for name in named if name.startswith("Organization/")}
    return {name: found for name, found in read.items() if found is not None}


def _problems(
    found: Sequence[Choice],
    picked: Sequence[Choice],
    coverage: Resource | None,
    payer: PayerProfile | None,
    seen: Mapping[str, Any],
) -> list[str]:
    needed = ORDER_TYPES[:1] if coverage is not None else (*ORDER_TYPES[:1], "Coverage")
    hidden = [kind for kind in needed if seen[kind].state not in {"complete", "partial"}]
    if hidden:
        return [f"The EHR did not show {', '.join(hidden)}: open the app again, or ask its operator."]
    if not found:
        return ["No signed order was found that the payer has answered. Sign the order first, then come back here."]
    if not picked:
        return ["Choose at least one order."]
    if coverage is None:
        return ["The coverage of these orders cannot be told."]
    if payer is None:
        return ["The payer of this coverage takes no electronic requests from here."]
    return []


def _named_coverage(launch: Launch, ehr: EhrClient, picked: Sequence[Choice], wanted: Wanted) -> Resource | None:
    """The coverage that is named, though the search did not show it: a long list is cut, some EHRs search none."""
    names = dict.fromkeys([*(each.told.coverage for each in picked), wanted.coverage])
    named = next((name for name in names if name), "")
    found = ehr.read(named).one if named else None
    gate = PatientGate(launch.patient, host_of(ehr.profile.iss), {})
    return None if found is None or gate.refusal("Coverage", found) else found


def _coverage(coverages: Sequence[Resource], picked: Sequence[Choice], wanted: Wanted) -> Resource | None:
    """The one that the payer's answer, the order or the launch names; else the only active one."""
    names = [each.told.coverage for each in picked if each.told.coverage] or [wanted.coverage]
    for coverage in coverages:
        if f"Coverage/{coverage.get('id')}" in names:
            return coverage
    active = [each for each in coverages if each.get("status") == "active"]
    return active[0] if len(active) == 1 else None
