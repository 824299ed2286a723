"""The command line: contracts of ``evaluate``, exit statuses, and what is said when something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cds_service.cli import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "order-sign.json"
AUTHORIZATIONS = """number,member_id,status,route,start,end
A-1,EXAMPLE0001,active,,2026-01-01,2026-12-31
A-2,EXAMPLE0002,granted,,2026-01-01,2026-12-31
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=given)


def one_line(path: Path = EXAMPLE) -> bytes:
    return json.dumps(json.loads(path.read_text("utf-8"))).encode()


class TestEvaluate:
    def test_contract_document_of_a_file(self) -> None:
        done = run("evaluate", "--as-of", "2026-03-02", EXAMPLE)
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert document["as_of"] == "2026-03-02"
        assert document["policy"]["id"] == "09-J1000-31"
        [order] = document["orders"]
        assert order["order"] == "MedicationRequest/draft-1"
        assert order["dose"][0]["daily"] == {"value": "15", "unit": "mg/d"}  # 0.75 mL/d of 20 mg/mL
        assert order["dose"][0]["daily_verdict"] == "within"  # at the limit is within

    def test_contract_several_files_in_order(self, tmp_path: Path) -> None:
        body = json.loads(EXAMPLE.read_text("utf-8"))
        body["context"]["draftOrders"]["entry"][0]["resource"]["id"] = "draft-2"
        other = tmp_path / "other.json"
        other.write_text(json.dumps(body), "utf-8")
        done = run("evaluate", EXAMPLE, other)
        orders = [json.loads(line)["orders"][0]["order"] for line in done.stdout.splitlines()]
        assert orders == ["MedicationRequest/draft-1", "MedicationRequest/draft-2"]

    def test_contract_ndjson_line_by_line_with_errors_in_their_place(self) -> None:
        given = b"\n".join([one_line(), b"not json", b"", one_line()]) + b"\n"
        done = run("evaluate", "-", given=given)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [set(line) == {"error"} for line in lines] == [False, True, True, False]
        assert done.stderr.splitlines() == ["line 2: the body is not JSON", "line 3: the body is not JSON"]
        assert done.exit_code == 1

    def test_contract_ndjson_without_final_newline_and_with_carriage_returns(self) -> None:
        done = run("evaluate", "-", given=one_line() + b"\r\n" + one_line())
        assert (len(done.stdout.splitlines()), done.exit_code) == (2, 0)

    def test_error_text_does_not_repeat_input(self) -> None:
        done = run("evaluate", "-", given=b'{"hook":"order-sign","CanaryFamily":}\n')
        assert done.exit_code == 1
        assert "CanaryFamily" not in done.output

    def test_contract_refused_by_the_hook_still_gives_a_document(self, tmp_path: Path) -> None:
        body = json.loads(EXAMPLE.read_text("utf-8"))
        body["prefetch"]["coverage"]["entry"][0]["resource"]["payor"] = [{"display": "Other Sample Plan"}]
        foreign = tmp_path / "foreign.json"
        foreign.write_text(json.dumps(body), "utf-8")
        done = run("evaluate", foreign)
        assert done.exit_code == 0
        assert json.loads(done.stdout)["orders"][0]["program"] == "other_payer"

    def test_missing_file_is_an_error_in_its_place(self) -> None:
        done = run("evaluate", "no-such.json", EXAMPLE)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [set(line) == {"error"} for line in lines] == [True, False]
        assert done.stderr.startswith("no-such.json: the file cannot be read: ")
        assert done.exit_code == 1

    def test_no_network_without_fetch(self) -> None:
        body = json.loads(EXAMPLE.read_text("utf-8"))
        body["fhirServer"] = "https://ehr.example.org/fhir"
        token = {"token_type": "Bearer", "expires_in": 300, "scope": "patient/*.rs", "subject": "cds"}
        body["fhirAuthorization"] = {"access_token": "sample-token", **token}
        for options in ((), ("--fetch",)):  # with --fetch too: this server is registered for nobody
            done = run("evaluate", *options, "-", given=json.dumps(body).encode())
            assert done.exit_code == 0, done.output  # the suite refuses every connection that leaves the machine

    def test_date_must_be_a_date(self) -> None:
        assert run("evaluate", "--as-of", "02.03.2026", EXAMPLE).exit_code == 2


class TestPolicyAndDiscovery:
    def test_crd_14_discovery_is_byte_stable(self) -> None:
        first, second = run("discovery"), run("discovery")
        assert first.exit_code == 0
        assert first.stdout_bytes == second.stdout_bytes
        assert {service["id"] for service in json.loads(first.stdout)["services"]} == {
            "order-sign",
            "order-select",
            "order-dispatch",
        }

    def test_check_policy_says_file_and_line(self, tmp_path: Path) -> None:
        assert run("check-policy").exit_code == 0
        broken = tmp_path / "config"
        shutil.copytree(ROOT / "config", broken)
        payer = broken / "payer.yaml"
        payer.write_text(payer.read_text("utf-8") + "\nno_such_setting: 1\n", "utf-8")
        lines = payer.read_text("utf-8").count("\n")
        done = run("check-policy", broken)
        assert done.exit_code == 1
        assert f"payer.yaml:{lines}:" in done.stderr
        assert done.stderr.endswith("\n1 complaint\n")

    def test_check_policy_wants_a_folder(self) -> None:
        done = run("check-policy", ROOT / "config" / "payer.yaml")
        assert done.exit_code == 2
        assert "is a file" in done.stderr

    def test_broken_configuration_stops_other_commands_with_all_complaints(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        done = run("discovery", "--config", tmp_path / "empty")
        assert done.exit_code == 2
        assert "payer.yaml" in done.stderr
        assert done.stdout == ""


class TestHousekeeping:
    def test_database_authorizations_report_purge(self, tmp_path: Path) -> None:
        file = tmp_path / "authorizations.csv"
        file.write_text(AUTHORIZATIONS, "utf-8")
        assert run("db", "upgrade").exit_code == 0
        assert (tmp_path / "var" / "cds.sqlite3").exists()
        done = run("authorizations", "import", file)
        assert done.exit_code == 1  # the second line has a status that there is not
        assert "added 1, changed 0, unchanged 0, refused 1" in done.stdout
        assert "line 3: status: one of active" in done.stderr
        assert "unchanged 1" in run("authorizations", "import", file).stdout
        assert run("feedback", "report").stdout == "rule\toutcome\treason\tcount\n"
        assert run("purge").stdout.startswith("removed 0 comments, 0 calls")

    def test_database_that_is_not_there_is_said_in_one_line(self) -> None:
        done = run("purge")
        assert done.exit_code == 3
        assert len(done.stderr.splitlines()) == 1
        assert "`cds-service db upgrade` makes it" in done.stderr

    def test_memory_store_has_no_housekeeping(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CDS_DATABASE_URL", "memory:")
        for command in (("db", "upgrade"), ("purge",), ("feedback", "report")):
            assert run(*command).exit_code == 2

    def test_unknown_client_is_told_who_there_is(self) -> None:
        done = run("check-client", "nobody")
        assert done.exit_code == 2
        assert "there are: none" in done.stderr

    def test_bad_input_121_config_show_without_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CDS_DATABASE_URL", "postgresql://cds:hunter2@db/cds")
        done = run("config", "show")
        assert json.loads(done.stdout)["database_url"] == "postgresql://cds:***@db/cds"
        assert "hunter2" not in done.output

    def test_wrong_setting_is_said_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CDS_PROT", "8001")
        done = run("config", "show")
        assert done.exit_code == 2
        assert "CDS_PROT is not a setting" in done.stderr


def every_command(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """All commands under one, with their words."""
    found: list[Any] = [(path, command)]
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            found += every_command(each, (*path, name))
    return found


@pytest.mark.parametrize(
    ("path", "command"), every_command(main), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_explains_itself(path: tuple[str, ...], command: click.Command) -> None:
    done = run(*path, "--help")
    assert done.exit_code == 0
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option)), path
