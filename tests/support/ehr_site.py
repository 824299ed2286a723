"""One registered EHR at a fault server, and the reader of its FHIR API."""

from __future__ import annotations

from collections.abc import Mapping

from cds_service.adapters.breaker import Breaker
from cds_service.adapters.fhir_http import HttpFhirReader
from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.system import SystemClock
from cds_service.clients import ClientProfile
from cds_service.ports import Fetched, Grant
from tests.support.fault_server import FaultServer
from tests.support.hook_tokens import ISSUER

TOKEN = "canary-access-token-7f3a"  # made up


def bundle(*resources: Mapping[str, object], next_url: str | None = None, **members: object) -> dict[str, object]:
    """A searchset page."""
    page: dict[str, object] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": resource, "search": {"mode": "match"}} for resource in resources],
        **members,
    }
    if next_url is not None:
        page["link"] = [{"relation": "self", "url": "x"}, {"relation": "next", "url": next_url}]
    return page


def condition(ident: str) -> dict[str, object]:
    """A resource of a made-up patient."""
    return {"resourceType": "Condition", "id": ident, "subject": {"reference": "Patient/example"}}


class Ahead(SystemClock):
    """The machine's steady clock, which a test may put forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


class Site:
    """A reader whose only registered server is ``server`` (``base_url`` overrides the address registered).

    ``clock`` is the reader's and the breaker's; sockets go by the machine's own. ``slept`` has the pauses that the
    reader wanted between two tries; none is taken.
    """

    def __init__(self, server: FaultServer, ca_file: str | None = None, **settings: object) -> None:
        self.base_url = server.url + "/fhir"
        self.events: list[str] = []
        self.clock = Ahead()
        self.slept: list[float] = []
        self.http = GuardedHttp(insecure_dev=True)
        profile: dict[str, object] = {
            "fhir_servers": (self.base_url,),
            "ca_file": ca_file,
            "allow_http": server.tls is None,
        }
        profile |= {name: settings.pop(name) for name in tuple(settings) if name in ClientProfile.__struct_fields__}
        self.profile = ClientProfile(id="ehr", name="Example EHR", issuer=ISSUER, **profile)
        self.breaker = Breaker(self.clock.monotonic, **settings.pop("breaker", {}))
        self.reader = HttpFhirReader(
            self.http, self.clock, self.events.append, breaker=self.breaker, sleep=self.slept.append, **settings
        )

    def grant(self, **changes: object) -> Grant:
        usual = {"base_url": self.base_url, "access_token": TOKEN, "scope": "", "profile": self.profile}
        return Grant(**{**usual, **changes})

    def fetch(self, queries: Mapping[str, str], seconds: float = 30.0, **changes: object) -> Mapping[str, Fetched]:
        return self.reader.fetch(self.grant(**changes), queries, self.clock.monotonic() + seconds)

    def one(self, query: str, seconds: float = 30.0) -> Fetched:
        return self.fetch({"it": query}, seconds)["it"]

    def close(self) -> None:
        self.reader.close()
        self.http.close()
