"""Configuration options: advertised once, obeyed where they make sense, ignored where not."""

import pytest

from cds_service.cds_hooks.options import ADVERTISED, DEFAULT_OPTIONS, Options, read_options


@pytest.mark.parametrize(
    ("configuration", "options"),
    [
        pytest.param({}, DEFAULT_OPTIONS, id="nothing asked"),
        pytest.param(None, DEFAULT_OPTIONS, id="no configuration"),
        pytest.param([], DEFAULT_OPTIONS, id="no object"),
        pytest.param({"coverage-info": False}, Options(coverage_info=False), id="coverage off"),
        pytest.param({"off-guideline": False}, Options(off_guideline=False), id="dose warning off"),
        pytest.param({"unsolicited-determ": False}, Options(unsolicited_determ=False), id="what-if"),
        pytest.param({"max-cards": 1}, Options(max_cards=1), id="one card"),
        pytest.param({"max-cards": 0}, Options(max_cards=0), id="no card"),
        pytest.param({"max-cards": -1}, DEFAULT_OPTIONS, id="nonsense number"),
        pytest.param({"max-cards": True}, DEFAULT_OPTIONS, id="a boolean is no number"),
        pytest.param({"max-cards": "1"}, DEFAULT_OPTIONS, id="a text is no number"),
        pytest.param({"coverage-info": 0, "off-guideline": "no"}, DEFAULT_OPTIONS, id="only false is off"),
        pytest.param({"cost": False, "x": {}}, DEFAULT_OPTIONS, id="unsupported codes"),
    ],
)
def test_crd_121_options(configuration, options):
    assert read_options(configuration) == options


def test_crd_118_119_120_advertised_options_are_unique_and_typed():
    for key in ("code", "name", "description"):
        assert len({option[key] for option in ADVERTISED}) == len(ADVERTISED)
    assert {option["code"]: option["type"] for option in ADVERTISED} == {
        "coverage-info": "boolean",
        "off-guideline": "boolean",
        "max-cards": "integer",
    }
    assert all(option["code"].replace("-", "").isalpha() for option in ADVERTISED)
