"""What the form is filled in front of: who, which encounter, what day, and what the EHR has answered so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

Resource = Mapping[str, Any]


class Seen(Protocol):
    """What a look-up brings. ``state``: complete, partial, absent, denied, failed or late; ``why`` is for a person."""

    @property
    def state(self) -> str:
        """How completely it could be seen."""

    @property
    def resources(self) -> tuple[Any, ...]:
        """The resources, parsed, without the searchset around them."""

    @property
    def why(self) -> str:
        """The reason when it is not complete."""


class Found(msgspec.Struct, frozen=True):
    """The same as a value that can be kept."""

    state: str
    resources: tuple[Resource, ...] = ()
    why: str = ""


Lookup = Callable[[Sequence[str]], Mapping[str, Seen]]
"""Runs relative FHIR queries, ``Observation?code=...&subject=Patient/1`` or ``Patient/1``, together; by query."""


def nothing_known(queries: Sequence[str]) -> Mapping[str, Seen]:
    """The look-up of somebody without an EHR: everything is absent."""
    return dict.fromkeys(queries, Found("absent"))


class Context(msgspec.Struct, frozen=True):
    """The surroundings of one filling. Frozen: population returns the next one with what it has looked up.

    ``launch`` holds resources by launch name (``patient``, ``encounter``, ``user``, ``location``, and any other that
    the app knows, such as ``coverage``). ``as_of`` must have a time zone. ``found`` are answers of the EHR by query:
    they are not asked twice (AP-22).
    """

    as_of: datetime
    launch: Mapping[str, Resource] = {}
    found: Mapping[str, Found] = {}
