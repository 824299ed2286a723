"""Checks a resource against a profile's snapshot: cardinalities, fixed and pattern values, slices of extensions.

No terminology and no FHIRPath; the invariants that matter here are in ``crd_invariants``.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def profile(package: Path, name: str) -> Json:
    """One StructureDefinition out of an IG package."""
    with tarfile.open(package) as archive:
        member = archive.extractfile(f"package/StructureDefinition-{name}.json")
        assert member is not None
        return json.load(member)


def violations(value: Json, definition: Json, extensions: Mapping[str, Json]) -> list[str]:
    """Where ``value`` breaks ``definition``; ``extensions`` holds definitions of extensions by URL."""
    elements = definition["snapshot"]["element"]
    root = elements[0]["path"]
    found = list(_children(value, root, elements, root))
    for extension in value.get("extension", []):
        known = extensions.get(extension.get("url", ""))
        if known is not None:
            found += violations(extension, known, {})
    return found


def _children(value: Json, ident: str, elements: list[Json], place: str) -> Iterator[str]:
    depth = ident.count(".")
    for element in elements:
        if element["id"].rpartition(".")[0] != ident or element["id"].count(".") != depth + 1:
            continue
        name = element["path"].rpartition(".")[2]
        held = _held(value, name)
        if "sliceName" in element:
            if name != "extension":
                continue  # told apart by value or binding: not judged here
            held = [item for item in held if item.get("url") == _url(element, elements)]
        where = f"{place}.{element['id'].rpartition('.')[2]}"
        if len(held) < element["min"]:
            yield f"{where}: {len(held)} of at least {element['min']}"
        if element["max"] != "*" and len(held) > int(element["max"]):
            yield f"{where}: {len(held)} of at most {element['max']}"
        for item in held:
            yield from _value(item, element, where)
            if isinstance(item, dict):
                yield from _children(item, element["id"], elements, where)


def _held(value: Json, name: str) -> list[Any]:
    if name.endswith("[x]"):
        names = [key for key in value if key.startswith(name[:-3]) and key[len(name) - 3 :][:1].isupper()]
    else:
        names = [name] if name in value else []
    return [item for key in names for item in (value[key] if isinstance(value[key], list) else [value[key]])]


def _url(element: Json, elements: list[Json]) -> str | None:
    for profile_url in [url for kind in element.get("type", []) for url in kind.get("profile", [])]:
        return profile_url.split("|")[0]
    for child in elements:
        if child["id"] == f"{element['id']}.url":
            return child.get("fixedUri")
    return None


def _value(item: Any, element: Json, where: str) -> Iterator[str]:
    for key, wanted in element.items():
        if key.startswith("fixed") and item != wanted:
            yield f"{where}: not the fixed value"
        if key.startswith("pattern") and not _matches(item, wanted):
            yield f"{where}: not the pattern"


def _matches(item: Any, pattern: Any) -> bool:
    if isinstance(pattern, dict):
        return isinstance(item, dict) and all(k in item and _matches(item[k], v) for k, v in pattern.items())
    if isinstance(pattern, list):
        return isinstance(item, list) and all(any(_matches(each, wanted) for each in item) for wanted in pattern)
    return bool(item == pattern)
