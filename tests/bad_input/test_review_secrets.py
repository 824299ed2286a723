"""Rows 119, 121, 122 at the review desk: what logs, metrics and settings must not show; starts that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.adapters.secret_files import load_client_secret
from cds_service.cli import main
from cds_service.errors import ConfigurationError
from cds_service.settings import from_env
from cds_service.workplace import DEMO_PEOPLE, identity_provider
from tests.support.e2e_service import Service
from tests.support.review_desk import Browser, Desk, put_case

ISSUER = {"CDS_OIDC_ISSUER": "https://idp.example", "CDS_OIDC_CLIENT_ID": "desk"}


@pytest.fixture
def service(tmp_path: Path) -> tuple[Desk, Service]:
    desk = Desk(tmp_path)
    return desk, Service(tmp_path / "review.sqlite3", clock=desk.clock, settings={"insecure_dev": True})


def test_bad_input_119_logs_metrics_and_addresses_of_the_desk_hold_nothing_about_people(
    service: tuple[Desk, Service], capsys: pytest.CaptureFixture[str]
) -> None:
    desk, whole = service
    case = put_case(desk, 4242)
    browser = Browser(whole.application, "demo-physician")  # type: ignore[arg-type]  # any WSGI application
    visited = ["/review", f"/review/cases/{case.id}", f"/review/cases/{case.id}/response", "/review/cases/unknown"]
    for path in visited:
        browser.get(path)
    page = browser.get(f"/review/cases/{case.id}").get_data(as_text=True)
    form = {
        "version": "1",
        "action-1": "A3",
        "reason-1": "CANARY of a reason that is long enough",
        "criterion-1": "I.1",
    }
    browser.post(f"/review/cases/{case.id}/draft", form)
    browser.post(f"/review/cases/{case.id}/decide", form | {"act": "send"}, token=browser.token())
    browser.post("/review/cases/CANARY/take", headers={"Origin": "https://evil.example"})
    metrics = browser.get("/metrics").get_data(as_text=True)
    canaries = {
        "name": "Person4242", "member": "M0004242", "birth": "1961-04-07", "npi": "1000000012", "case": case.id,
        "number": case.tracking_number, "typed": "CANARY", "person": "Ada Quill", "id": "demo-physician",
        "session": browser.cookie("__Host-review"),
    }  # fmt: skip
    assert canaries["name"] in page, "the page itself shows the person: the search below can find something"
    said = {"log": whole.lines.text(), "metrics": metrics, "output": "".join(capsys.readouterr())}
    found = [(where, name) for where, text in said.items() for name, word in canaries.items() if word in text]
    assert found == []
    links = re.findall(r'(?:href|action)="([^"]*)"', page)
    assert not [link for link in links if any(canaries[name] in link for name in ("name", "member", "birth", "npi"))]
    assert {line.route for line in whole.lines.lines} >= {"/review", "/review/cases/<case_id>"}


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({**ISSUER, "CDS_OIDC_ISSUER": "http://idp.example"}, "CDS_OIDC_ISSUER must be an https URL"),
        ({**ISSUER, "CDS_OIDC_CLIENT_ID": ""}, "CDS_OIDC_CLIENT_ID is needed"),
        ({"CDS_OIDC_ALGORITHMS": "RS256,none"}, "'none'"),
        ({"CDS_OIDC_ALGORITHMS": "HS256"}, "'HS256'"),
        ({"CDS_OIDC_ROLES": "um-nurses=boss"}, "um-nurses=nurse"),
        ({"CDS_OIDC_ROLES": "=nurse"}, "um-nurses=nurse"),
        ({"CDS_REVIEW_IDLE_MINUTES": "0"}, "CDS_REVIEW_IDLE_MINUTES"),
        ({"CDS_REVIEW_SESSION_HOURS": "25"}, "CDS_REVIEW_SESSION_HOURS"),
    ],
)
def test_bad_input_122_a_sign_in_that_is_not_sound_stops_the_start(environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        from_env(environment)


def test_bad_input_122_the_made_up_people_are_there_in_insecure_dev_alone(service: tuple[Desk, Service]) -> None:
    desk, whole = service
    dev = Browser(whole.application)  # type: ignore[arg-type]
    assert DEMO_PEOPLE[0].name in dev.get("/review/sign-in").get_data(as_text=True)
    plain = Service(whole.database, clock=desk.clock)
    shut = Browser(plain.application)  # type: ignore[arg-type]
    assert shut.get("/review/sign-in").status_code == 404
    assert shut.post("/review/sign-in/demo", {"person": DEMO_PEOPLE[0].id}, token="").status_code == 403
    with pytest.raises(ConfigurationError, match="refused when CDS_PROFILE=production"):
        from_env({"CDS_PROFILE": "production", "CDS_INSECURE_DEV": "on", "CDS_PUBLIC_URL": "https://payer.example"})


def test_with_an_identity_provider_the_made_up_people_are_gone(service: tuple[Desk, Service]) -> None:
    desk, whole = service
    settings = from_env({**ISSUER, "CDS_INSECURE_DEV": "on", "CDS_DATABASE_URL": f"sqlite:///{whole.database}"})
    assert identity_provider(settings, desk.clock) is not None
    page = Browser(Desk(whole.database.parent, oidc_issuer="https://idp.example", oidc_client_id="x").app())
    assert DEMO_PEOPLE[0].name not in page.get("/review/sign-in").get_data(as_text=True)


@pytest.mark.parametrize(("mode", "content", "complaint"), [
    (0o644, "s3cret", "mode 0644"),
    (0o640, "s3cret", "mode 0640"),
    (0o600, " \n", "is empty"),
    (None, "", "cannot be read"),
])  # fmt: skip
def test_bad_input_121_a_client_secret_that_others_can_read_is_refused(
    tmp_path: Path, mode: int | None, content: str, complaint: str
) -> None:
    path = tmp_path / "secret"
    if mode is not None:
        path.write_text(content, "utf-8")
        path.chmod(mode)
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        load_client_secret(path)
    assert "s3cret" not in str(refused.value)


def test_bad_input_121_shown_settings_name_the_secrets_file_and_not_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret\n", "utf-8")
    path.chmod(0o600)
    assert load_client_secret(path) == "s3cret"
    shown = CliRunner().invoke(main, ["config", "show"], env={**ISSUER, "CDS_OIDC_CLIENT_SECRET_FILE": str(path)})
    assert shown.exit_code == 0, shown.output
    assert str(path) in shown.output
    assert "s3cret" not in shown.output
