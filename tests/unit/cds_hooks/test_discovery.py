"""The discovery document."""

import json
import re

from cds_service.cds_hooks.discovery import discovery
from cds_service.cds_hooks.prefetch import templates
from cds_service.cds_hooks.services import find_service
from cds_service.domain.record import Code


def services():
    return json.loads(discovery())["services"]


def test_crd_008_009_every_service_is_described():
    assert [service["hook"] for service in services()] == ["order-sign", "order-select", "order-dispatch"]
    for service in services():
        assert all(
            isinstance(service[key], str) and service[key]
            for key in ("id", "hook", "title", "description", "usageRequirements")
        )


def test_crd_007_without_services_the_list_is_empty():
    assert discovery(services=()) == b'{"services":[]}'


def test_crd_010_every_id_resolves():
    for service in services():
        assert find_service(service["id"]).hook == service["hook"]


def test_crd_014_194_the_same_bytes_for_the_same_configuration():
    codes = [Code("http://loinc.org", "72514-3"), Code("http://loinc.org", "38208-5")]
    assert discovery(codes) == discovery(reversed(codes))
    assert b"\n" not in discovery()
    assert b'": ' not in discovery()


def test_crd_116_versions():
    for service in services():
        versions = service["extension"]["davinci-crd.version"]
        assert versions == ["2.0", "2.2"]
        assert all(re.fullmatch(r"[1-9]\d*\.\d+", version) for version in versions)


def test_crd_117_118_configuration_options():
    for service in services():
        for option in service["extension"]["davinci-crd.configuration-options"]:
            assert set(option) == {"code", "type", "name", "description", "default"}
            assert isinstance(option["default"], {"boolean": bool, "integer": int}[option["type"]])


def test_crd_175_176_prefetch_is_published():
    sign, _, dispatch = services()
    assert sign["prefetch"] == templates()
    assert {"patient", "encounter", "coverage"} <= set(sign["prefetch"])
    assert set(sign["prefetch"]) - set(dispatch["prefetch"]) == {"encounter"}
