"""The discovery document (cds-hooks-crd A.2, B.4): the same bytes for the same configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from cds_service.cds_hooks.options import ADVERTISED
from cds_service.cds_hooks.prefetch import templates
from cds_service.cds_hooks.services import CRD_VERSIONS, SERVICES, Service
from cds_service.domain.record import Code


def discovery(observation_codes: Iterable[Code] = (), services: Iterable[Service] = SERVICES) -> bytes:
    """The body of ``GET /cds-services``.

    ``observation_codes``: what the guidelines read of Observations (pain and function scores). Made once at start.
    """
    published = templates(observation_codes)
    return msgspec.json.encode({"services": [_entry(service, dict(published)) for service in services]})


def _entry(service: Service, prefetch: dict[str, str]) -> dict[str, Any]:
    if service.hook == "order-dispatch":
        del prefetch["encounter"]  # its context has no encounterId
    return {
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "id": service.id,
        "prefetch": prefetch,
        "usageRequirements": service.usage,
        "extension": {
            "davinci-crd.version": list(CRD_VERSIONS),
            "davinci-crd.configuration-options": list(ADVERTISED),
        },
    }
