"""What the running sandbox was put together of, with its types; pages and operations get it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from flask import abort, current_app

from sandbox_ehr.ordering import Ordering
from sandbox_ehr.patients.sample import Sample
from sandbox_ehr.smart.server import SmartServer
from sandbox_ehr.store import Store


def the_store() -> Store:
    """Every resource of the sandbox."""
    store: Store = current_app.extensions["store"]
    return store


def the_server() -> SmartServer:
    """The authorization server."""
    server: SmartServer = current_app.extensions["smart"]
    return server


def the_ordering() -> Ordering:
    """Orders, and what the payer said of them."""
    ordering: Ordering = current_app.extensions["ordering"]
    return ordering


def the_samples() -> Mapping[str, Sample]:
    """The made-up patients by id."""
    samples: Mapping[str, Sample] = current_app.extensions["samples"]
    return samples


def the_sample(patient: str) -> Sample:
    """One of them; 404 for anybody else."""
    sample = the_samples().get(patient)
    if sample is None:
        abort(404)
    return sample


def the_instant() -> str:
    """Now, as FHIR writes it."""
    now: Callable[[], datetime] = current_app.extensions["now"]
    return now().isoformat(timespec="milliseconds")
