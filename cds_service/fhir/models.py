"""The only door to fhir.resources. For lint of what we publish and for tests; never on the path of a hook call.

The library has R4B, not R4. Of the types used here R4B differs from R4 in this alone, as far as it matters:
``DeviceRequest`` and ``Device`` gained elements that we do not write, and ``CapabilityStatement.fhirVersion`` allows
4.3.0 beside 4.0.1. Where R4 content is refused, read plain dictionaries instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError


def complaints(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """What the R4B model finds wrong with a resource: element path and kind of error, never the content."""
    kind = resource.get("resourceType")
    try:
        model = get_fhir_model_class(str(kind))
    except ValueError:
        return ("resourceType: not a type of FHIR R4B",)
    try:
        model.model_validate(dict(resource))
    except ValidationError as error:
        return tuple(f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in error.errors())
    return ()
