"""``ValueSet/$expand``, and reads of what forms are made of (PS-12): all of it is prepared, nothing is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.errors import MalformedRequest, NotFound, UnknownContext
from cds_service.fhir.questionnaire import answer_value_set
from cds_service.fhir.systems import OUR_BASE
from cds_service.use_cases.documentation.forms import Forms, Operation, as_json

MOST = 1_000


class Terminology(msgspec.Struct, frozen=True):
    """The value sets of all forms."""

    forms: Forms

    def expand(self, parameters: Mapping[str, str]) -> Operation:
        """One value set as of today; ``filter`` finds a part of a display, ``offset`` and ``count`` cut a page.

        Raises MalformedRequest, or UnknownContext for a value set that is not ours.
        """
        url = parameters.get("url", "")
        if not url:
            raise MalformedRequest("the parameter url is needed", expression="url")
        base, _, version = url.partition("|")
        held = self.value_set(base.removeprefix(f"{OUR_BASE}/ValueSet/")) if base.startswith(OUR_BASE) else None
        if held is None or (version and version != held["version"]):
            raise UnknownContext("this value set is not offered here", expression="url")
        wanted = parameters.get("filter", "").casefold()
        found = [
            one
            for one in held["expansion"]["contains"]
            if wanted in one["display"].casefold() or wanted in one["code"].casefold()
        ]
        offset, count = _whole(parameters, "offset", 0), _whole(parameters, "count", MOST)
        expansion: dict[str, Any] = {"total": len(found), "offset": offset}
        page = found[offset : offset + count]
        held["expansion"] = expansion | ({"contains": page} if page else {})
        return Operation(status=200, body=as_json(held), outcome="expanded", items=len(page))

    def value_set(self, ident: str) -> dict[str, Any] | None:
        """A value set by its id, whole."""
        choice = self.forms.choices.get(ident)
        if choice is None:
            return None
        newest = max((each.rules.guideline for each in self.forms.by_canonical.values()), key=lambda one: one.effective)
        return answer_value_set(newest, choice.ident, choice.title, choice.options)

    def read(self, kind: str, ident: str, version: str) -> bytes:
        """A Questionnaire or ValueSet by its id; raises NotFound."""
        if kind == "ValueSet":
            held = self.value_set(ident)
            if held is not None:
                return as_json(held)
        if kind == "Questionnaire":
            mine = [
                each
                for (of, name), each in self.forms.by_canonical.items()
                if of == version and name.partition("|")[0].rpartition("/")[2] == ident
            ]
            if mine:
                return max(mine, key=lambda each: each.rules.guideline.effective).text
        raise NotFound("no such resource here")

    def search(self, url: str, version: str) -> list[msgspec.Raw]:
        """Questionnaires by ``url`` (with or without ``|version``); all of them for ""."""
        return [
            msgspec.Raw(each.text)
            for (of, name), each in self.forms.by_canonical.items()
            if of == version and url in {"", name, name.partition("|")[0]}
        ]


def _whole(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        raise MalformedRequest(f"{name} must be a whole number", expression=name)
    return min(int(text), MOST)
