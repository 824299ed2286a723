"""Which registered payer a Coverage belongs to: by the identifier of its payor, else by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cds_service.fhir.concepts import dicts, word
from smart_app.registry import PayerProfile


def payer_of(
    coverage: Mapping[str, Any], organizations: Mapping[str, Mapping[str, Any]], payers: Sequence[PayerProfile]
) -> PayerProfile | None:
    """The one payer that fits; None where none does, or several do.

    ``organizations``: payors that could be read, by the reference that names them.
    """
    for fits in (_by_identifier, _by_name):
        found = [payer for payer in payers if any(fits(payer, one) for one in _payors(coverage, organizations))]
        if len(found) == 1:
            return found[0]
        if found:
            return None
    return None


def _payors(coverage: Mapping[str, Any], organizations: Mapping[str, Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Each payor as an Organization, or as the Reference's own identifier and display."""
    inside = {f"#{one.get('id')}": one for one in dicts(coverage.get("contained"))}
    for reference in dicts(coverage.get("payor")):
        name = word(reference.get("reference"))
        found = inside.get(name) or organizations.get(name)
        if found is not None:
            yield found
        identifier = reference.get("identifier")
        yield {
            "identifier": [identifier] if isinstance(identifier, dict) else [],
            "name": word(reference.get("display")),
        }


def _by_identifier(payer: PayerProfile, organization: Mapping[str, Any]) -> bool:
    held = {f"{word(each.get('system'))}|{word(each.get('value'))}" for each in dicts(organization.get("identifier"))}
    return bool(held & set(payer.identifiers))


def _by_name(payer: PayerProfile, organization: Mapping[str, Any]) -> bool:
    names = [word(organization.get("name"))]
    aliases = organization.get("alias")
    names += [word(each) for each in aliases] if isinstance(aliases, list) else []
    return bool({_plain(name) for name in names if name} & {_plain(name) for name in payer.names})


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
