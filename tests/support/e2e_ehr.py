"""A chart behind a real socket: the FHIR API of an EHR, of which any part can be made to fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.e2e_patient import KEYS, PATIENT, Chart, encode, searchset
from tests.support.fault_server import Behaviour, FaultServer, reply

TOKEN = "canary-access-token-e2e-51c7"  # made up
FHIR_JSON = {"Content-Type": "application/fhir+json"}


def ehr_of(held: Chart, *others: Mapping[str, Any], **faults: Behaviour) -> FaultServer:
    """A server of this chart and of ``others`` (read by id); ``faults`` misbehave in place of a key."""
    routes: dict[str, Behaviour] = {}
    for key, resources in held.items():
        if key in {"patient", "encounter"}:
            others = (*others, *resources)
            continue
        routes[f"/fhir/{KEYS[key]}"] = answer(searchset(*resources))
    for each in others:
        routes[f"/fhir/{each['resourceType']}/{each['id']}"] = answer(each)
    for key, fault in faults.items():
        routes[path_of(key)] = fault
    return FaultServer(routes)


def path_of(key: str) -> str:
    """Where a prefetch key is asked for; other names are paths below the base ("Medication/med")."""
    if key == "patient":
        return f"/fhir/Patient/{PATIENT}"
    return "/fhir/Encounter/enc-e2e" if key == "encounter" else f"/fhir/{KEYS.get(key, key)}"


def answer(value: object, status: int = 200) -> Behaviour:
    """A FHIR answer whose numbers keep their digits."""
    return reply(status, encode(value), FHIR_JSON)


def lent(server: FaultServer, scope: str = "user/*.read", **changes: Any) -> dict[str, Any]:
    """What a call says of its EHR."""
    usual = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": scope, "subject": "cds"}
    return {"fhirServer": f"{server.url}/fhir", "fhirAuthorization": {**usual, **changes}}
