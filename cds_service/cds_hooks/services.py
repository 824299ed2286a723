"""The services we offer: one per hook, the same for every coverage of the payer (cds-hooks-crd 97, 98, 105)."""

from __future__ import annotations

import msgspec

from cds_service.errors import NotFound

CRD_VERSIONS = ("2.0", "2.2")


class Service(msgspec.Struct, frozen=True):
    """One entry of discovery; ``id`` is the last part of its address."""

    id: str
    hook: str
    title: str
    description: str
    usage: str  # what an integration engineer must know

    @property
    def primary(self) -> bool:
        """A CRD primary hook: coverage-information is due (cds-hooks-crd 97, 99)."""
        return self.hook in {"order-sign", "order-dispatch"}


ORDER_SIGN = Service(
    "order-sign",
    "order-sign",
    "Coverage of intrathecal and epidural drug therapy",
    "Tells at signing whether a pump, catheter or neuraxial drug order appears to meet the payer's guideline, "
    "what is still missing, and whether dose and concentration are within the guideline's table.",
    "Allow system actions of type update on MedicationRequest, ServiceRequest and DeviceRequest. "
    "Send the prefetch, or a bearer token that may read the same resources.",
)
ORDER_SELECT = Service(
    "order-select",
    "order-select",
    "Coverage of intrathecal and epidural drug therapy (preparation)",
    "Prepares the answer while an order is being chosen. It shows nothing itself.",
    "Never returns cards or actions; use it together with order-sign.",
)
ORDER_DISPATCH = Service(
    "order-dispatch",
    "order-dispatch",
    "Coverage of intrathecal and epidural drug therapy (dispatch)",
    "Repeats the coverage answer of an order when a performer is chosen for it.",
    "The dispatched orders are read from prefetch or with the bearer token.",
)
SERVICES = (ORDER_SIGN, ORDER_SELECT, ORDER_DISPATCH)
_BY_ID = {service.id: service for service in SERVICES}


def find_service(service_id: str) -> Service:
    """The service of this id. Raises NotFound for any other (cds-hooks-crd 10, 16)."""
    try:
        return _BY_ID[service_id]
    except KeyError:
        raise NotFound(f"no such CDS service; there are {', '.join(_BY_ID)}") from None
