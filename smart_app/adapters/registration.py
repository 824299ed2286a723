"""Writes the files that ``registry_files`` reads, from the options of ``smart-app init``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cds_service.errors import ConfigurationError

_HEAD = "# Written by `smart-app init`; every setting is in docs/smart-app.md.\n"


def files(config_dir: Path, given: Mapping[str, Any], *, allow_local: bool) -> Iterator[tuple[Path, str]]:
    """Path and text of each registration that was asked for.

    Raises:
        ConfigurationError: an EHR without client id, a payer without client id or name.
    """
    local = {"allow_private": True, "allow_http": True} if allow_local else {}
    if given["ehr_iss"]:
        yield config_dir / "ehrs" / f"{given['ehr_id']}.yaml", _text({**_ehr(given), **local})
    if given["payer_dtr_base"]:
        yield config_dir / "payers" / f"{given['payer_id']}.yaml", _text({**_payer(given), **local})


def _ehr(given: Mapping[str, Any]) -> dict[str, Any]:
    _need(given, "ehr_client_id")
    return {
        "id": given["ehr_id"],
        "name": given["ehr_name"] or urlsplit(given["ehr_iss"]).hostname,
        "iss": given["ehr_iss"],
        "client_id": given["ehr_client_id"],
        "extra_scopes": list(given["ehr_extra_scope"]),
        "refresh": given["ehr_refresh"],
        "standalone": given["ehr_standalone"],
        "frame_origins": list(given["ehr_frame_origin"]),
        "endpoint_hosts": list(given["ehr_endpoint_host"]),
    }


def _payer(given: Mapping[str, Any]) -> dict[str, Any]:
    _need(given, "payer_client_id")
    _need(given, "payer_name")
    return {
        "id": given["payer_id"],
        "names": list(given["payer_name"]),
        "identifiers": list(given["payer_identifier"]),
        "dtr_base": given["payer_dtr_base"],
        "dtr_version": given["payer_dtr_version"],
        "pas_base": given["payer_pas_base"],
        "client_id": given["payer_client_id"],
    }


def _need(given: Mapping[str, Any], name: str) -> None:
    if not given[name]:
        raise ConfigurationError(f"--{name.replace('_', '-')} is needed too")


def _text(members: Mapping[str, Any]) -> str:
    """Empty settings are left out; texts that YAML could take for something else are quoted."""
    kept = {name: value for name, value in members.items() if value not in ("", [], False, None)}
    return _HEAD + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
