"""Several versions of one guideline: the one in force on the day decides, and says so where none is."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.policy_files import check, load_configuration
from cds_service.app import load_rules
from cds_service.policy.page import page
from cds_service.settings import for_tests
from cds_service.use_cases.decide import Rules, evaluate_document, in_force
from cds_service.web import pages
from tests.support.e2e_patient import call, chart, coverage, dosage, encode, medication, order
from tests.support.policy_cases import SECOND
from tests.support.web_twins import Web

ID = "99-E0001-01"
# folder -> effective, until, examplinib a day: the limit was raised twice; nothing was in force from April to June 2025
VERSIONS = {
    "first": ("2024-01-01", "2025-03-31", "6"),
    "middle": ("2025-07-01", "", "10"),
    "raised": ("2026-01-01", "", "12"),
}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def write(config: Path, folder: str, effective: str, until: str, daily: str) -> None:
    """One version more."""
    own = config / "policies" / folder
    shutil.copytree(SECOND / "policies" / ID, own)
    change(own / "policy.yaml", 'version: "2025-07-01"', f'version: "{effective}"')
    change(
        own / "policy.yaml", "\neffective: 2025-07-01", f"\neffective: {effective}" + f"\nuntil: {until}" * bool(until)
    )
    change(own / "dosing.yaml", "    daily: 10", f"    daily: {daily}")
    change(own / "dosing.yaml", "daily: 10 mg}", f"daily: {daily} mg}}")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up configuration with three versions of its guideline."""
    folder = tmp_path_factory.mktemp("versions") / "config"
    shutil.copytree(SECOND, folder)
    shutil.rmtree(folder / "policies" / ID)
    for name, version in VERSIONS.items():
        write(folder, name, *version)
    return folder


@pytest.fixture(scope="module")
def rules(config: Path) -> Rules:
    return load_rules(load_configuration(config), for_tests())


def judged(rules: Rules, day: str, route: str = "26643006") -> dict[str, Any]:
    """Examplinib 8 mg a day, by mouth unless told otherwise, on one day."""
    tablets = order("2", contained=[medication("4", drug="9900002")], dosageInstruction=[dosage("2", route=route)])
    body = encode(call(tablets, held=chart(coverage=[coverage(payer="Sample Mutual", period={"start": "2020-01-01"})])))
    document: dict[str, Any] = json.loads(evaluate_document(body, rules, date.fromisoformat(day)))
    return document


@pytest.mark.parametrize(
    ("day", "version", "limit", "in_time"),
    [
        ("2023-12-31", "2024-01-01", "6", False),  # before all: the first to come
        ("2024-01-01", "2024-01-01", "6", True),  # the day itself
        ("2025-03-31", "2024-01-01", "6", True),  # the last day itself
        ("2025-04-01", "2024-01-01", "6", False),  # between: the latest that had begun, not one to come
        ("2025-06-30", "2024-01-01", "6", False),
        ("2025-07-01", "2025-07-01", "10", True),
        ("2025-12-31", "2025-07-01", "10", True),
        ("2026-01-01", "2026-01-01", "12", True),  # of two in force the newest
        ("2030-01-01", "2026-01-01", "12", True),
    ],
)
def test_the_version_in_force_decides(rules: Rules, day: str, version: str, limit: str, *, in_time: bool) -> None:
    document = judged(rules, day)
    assert (document["policy"]["id"], document["policy"]["version"]) == (ID, version)
    found = document["orders"][0]
    assert found["dose"][0]["daily_limit"]["value"] == limit
    assert ({"code": "policy_not_in_force", "subject": ID} in found["flags"]) is not in_time


def test_versions_have_digests_of_their_own(rules: Rules) -> None:
    found = {judged(rules, day)["policy"]["digest"] for day in ("2024-06-01", "2025-08-01", "2026-06-01")}
    assert len(found) == 3


def test_an_order_out_of_scope_is_told_nothing_of_versions(rules: Rules) -> None:
    found = judged(rules, "2025-04-01", route="72607000")["orders"][0]
    assert (found["in_scope"], found["flags"]) == (False, [])


def test_a_call_without_orders_names_the_version_in_force(rules: Rules) -> None:
    body = call()
    body["context"]["draftOrders"]["entry"] = []
    document = json.loads(evaluate_document(encode(body), rules, date(2025, 8, 1)))
    assert document["policy"]["version"] == "2025-07-01"


def test_after_the_last_day_the_latest_decides(config: Path, tmp_path: Path) -> None:
    ended = tmp_path / "config"
    shutil.copytree(config, ended)
    change(
        ended / "policies" / "raised" / "policy.yaml",
        "\neffective: 2026-01-01",
        "\neffective: 2026-01-01\nuntil: 2026-12-31",
    )
    change(
        ended / "policies" / "middle" / "policy.yaml",
        "\neffective: 2025-07-01",
        "\neffective: 2025-07-01\nuntil: 2025-12-31",
    )
    document = judged(load_rules(load_configuration(ended), for_tests()), "2028-01-01")
    assert document["policy"]["version"] == "2026-01-01"
    assert "policy_not_in_force" in {flag["code"] for flag in document["orders"][0]["flags"]}


def test_two_versions_of_one_day_are_refused(config: Path, tmp_path: Path) -> None:
    twins = tmp_path / "config"
    shutil.copytree(config, twins)
    change(twins / "policies" / "raised" / "policy.yaml", "\neffective: 2026-01-01", "\neffective: 2025-07-01")
    complaints = [str(each) for each in check(twins)]
    assert [f"two versions of {ID} effective 2025-07-01" in each for each in complaints] == [True]


def test_each_guideline_once_in_the_order_of_its_folders(rules: Rules) -> None:
    assert len(rules.guidelines) == 3
    assert [each.guideline.version for each in in_force(rules, date(2024, 6, 1))] == ["2024-01-01"]


# ---- pages ----


class Day:
    """A calendar that can be turned."""

    def __init__(self) -> None:
        self.day = date(2025, 12, 31)

    def __call__(self) -> date:
        return self.day


@pytest.fixture
def site(config: Path) -> tuple[Web, Day]:
    today = Day()
    guidelines = load_configuration(config).guidelines
    shown = pages.Pages(
        payer="Sample Mutual", guidelines=guidelines, view=page, hooks_document=Path("none"), today=today
    )
    return Web(pages=shown), today


def get(web: Web, path: str) -> tuple[int, str]:
    answer = web.call("GET", path, headers={})
    return answer.status_code, answer.get_data(as_text=True)


def test_the_page_of_a_guideline_shows_the_version_in_force_today(site: tuple[Web, Day]) -> None:
    web, today = site
    assert "revised <strong>2025-07-01</strong>" in get(web, f"/policies/{ID}")[1]
    today.day = date(2026, 1, 1)
    assert "revised <strong>2026-01-01</strong>" in get(web, f"/policies/{ID}")[1]


def test_every_version_has_a_page_that_the_start_page_names(site: tuple[Web, Day]) -> None:
    web, today = site
    status, text = get(web, f"/policies/{ID}/2024-01-01")
    assert status == 200
    assert "revised <strong>2024-01-01</strong>, in force until 2025-03-31" in text
    assert get(web, f"/policies/{ID}/2024-01-02")[0] == 404
    for day, others in ((today.day, {"2024-01-01", "2026-01-01"}), (date(2026, 1, 1), {"2024-01-01", "2025-07-01"})):
        today.day = day
        start = get(web, "/")[1]
        assert start.count(f'href="/policies/{ID}"') == 1
        assert {version for version, _, _ in VERSIONS.values() if f'href="/policies/{ID}/{version}"' in start} == others
