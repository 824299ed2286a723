"""A decision as it can stand in the EHR by itself."""

from __future__ import annotations

from typing import Any

from smart_app.pas.closure import Resource


def for_chart(response: Resource, patient: str) -> Resource:
    """A copy that stands by itself in the EHR: references to what stayed at the payer become words.

    ``patient`` is the reference of the patient at the EHR.
    """

    def walked(value: Any) -> Any:
        if isinstance(value, list):
            return [walked(each) for each in value]
        if not isinstance(value, dict):
            return value
        copy = {name: walked(each) for name, each in value.items()}
        if isinstance(copy.get("reference"), str):
            name = copy.pop("reference")
            copy.setdefault("display", name.partition("/")[0] if "/" in name else "Named in the payer's answer")
        return copy

    copy: Resource = walked({name: value for name, value in response.items() if name != "id"})
    copy["patient"] = {"reference": patient}
    return copy
