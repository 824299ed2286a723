"""The demonstration's four programs, and how they know each other. Used by ``make run`` and by the browser tests.

Everything that is written is below one directory: databases, keys, registrations. Nothing is asked of the network.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
CLINIC_NPI = "http://hl7.org/fhir/sid/us-npi|1999999976"  # the sandbox's clinic, as whom the app sends requests
PAYER_CLIENT = "sandbox-clinic"  # as whom the payer knows the app
DELIVERY_CLIENT = "payer-delivery"  # as whom the payer's systems know the payer's service


@dataclass(frozen=True)
class Program:
    """One program: its command, and the address that answers once it is ready ("": it listens nowhere)."""

    name: str
    command: tuple[str, ...]
    ready: str


@dataclass(frozen=True)
class Demo:
    """Where everything is: three ports of this machine, one directory."""

    cds_port: int
    app_port: int
    ehr_port: int
    var: Path

    @property
    def cds(self) -> str:
        """The payer's service."""
        return f"http://127.0.0.1:{self.cds_port}"

    @property
    def app(self) -> str:
        """The app."""
        return f"http://127.0.0.1:{self.app_port}"

    @property
    def ehr(self) -> str:
        """The sandbox EHR."""
        return f"http://127.0.0.1:{self.ehr_port}"

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The settings of all programs; what the caller has set already for databases and keys stays."""
        chosen = {
            "CDS_DATABASE_URL": f"sqlite:///{self.var / 'cds.sqlite3'}",
            "CDS_KEY_FILE": str(self.var / "patient.key"),
            "SMART_APP_DATABASE_URL": f"sqlite:///{self.var / 'app.sqlite3'}",
        }
        fixed = {
            "CDS_PORT": str(self.cds_port),
            "CDS_PUBLIC_URL": self.cds,
            "CDS_SMART_APP_URL": self.app,
            "CDS_CLIENTS_DIR": str(self.var / "sandbox" / "clients"),
            "CDS_BACKEND_CLIENTS_DIR": str(self.var / "backend_clients"),
            "CDS_PAYER_ENDPOINTS_DIR": str(self.var / "payer_endpoints"),
            "CDS_TOKEN_KEY_FILE": str(self.var / "token.key"),
            "CDS_INSECURE_DEV": "on",
            "SMART_APP_PUBLIC_URL": self.app,
            "SMART_APP_PORT": str(self.app_port),
            "SMART_APP_CONFIG_DIR": str(self.var / "app"),
            "SMART_APP_KEY_DIR": str(self.var / "app-keys"),
            "SMART_APP_INSECURE_DEV": "on",
        }
        return {**chosen, **base, **fixed}

    def settings_file(self, environment: Mapping[str, str]) -> str:
        """The service's and the app's settings as lines for a shell, so that their commands find these programs."""
        names = sorted(name for name in environment if name.startswith(("CDS_", "SMART_APP_")))
        lines = (f"export {name}={shlex.quote(environment[name])}" for name in names)
        return "\n".join(("# Written by the demonstration. In a shell: . var/demo.env", *lines, ""))

    def programs(self, *, faults: bool = False) -> tuple[Program, ...]:
        """What is to be started, in this order."""
        sandbox = (
            "sandbox-ehr", "serve", "--var", str(self.var / "sandbox"), "--port", str(self.ehr_port),
            "--cds-url", self.cds, "--app-url", self.app, "--payer-jwks-url", f"{self.cds}/jwks.json",
        )  # fmt: skip
        return (
            Program("cds-service", ("cds-service", "serve", "--insecure-dev", "--workers", "1"), f"{self.cds}/readyz"),
            Program("smart-app", ("smart-app", "serve", "--insecure-dev"), f"{self.app}/readyz"),
            Program("sandbox-ehr", (*sandbox, *(["--faults"] if faults else [])), f"{self.ehr}/livez"),
            Program("cds-service deliver", ("cds-service", "deliver", "--insecure-dev"), ""),
        )

    def prepare(self, run: Callable[[tuple[str, ...]], None]) -> None:
        """Keys, databases, and each program's registration at the others. ``run`` carries out one command."""
        self.var.mkdir(parents=True, exist_ok=True)
        sandbox = self.var / "sandbox"
        run(("sandbox-ehr", "init", "--var", str(sandbox), "--base-url", self.ehr))
        run(
            (
                "smart-app", "init", "--ehr-id", "sandbox", "--ehr-name", "Sandbox EHR",
                "--ehr-iss", f"{self.ehr}/fhir",
                "--ehr-client-id", "intrathecal-app", "--ehr-frame-origin", self.ehr,
                "--ehr-extra-scope", "user/Practitioner.rs", "--ehr-extra-scope", "user/PractitionerRole.rs",
                "--ehr-extra-scope", "user/Organization.rs", "--ehr-extra-scope", "patient/ClaimResponse.crus",
                "--ehr-refresh", "online", "--ehr-standalone",
                "--payer-id", "demo", "--payer-name", "Florida Blue", "--payer-dtr-base", f"{self.cds}/dtr/2.0.1",
                "--payer-pas-base", f"{self.cds}/pas/2.0.1", "--payer-client-id", PAYER_CLIENT, "--allow-local",
                "--force",
            )
        )  # fmt: skip
        self._write("backend_clients/clinic.yaml", BACKEND_CLIENT.format(app=self.app))
        self._write("payer_endpoints/demo.yaml", PAYER_ENDPOINT.format(ehr=self.ehr))
        run(("cds-service", "db", "upgrade"))
        run(("cds-service", "authorizations", "import", str(sandbox / "authorizations.csv")))

    def _write(self, name: str, text: str) -> None:
        path = self.var / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


BACKEND_CLIENT = f"""# Written by the demonstration: the app, as the payer knows it.
id: {PAYER_CLIENT}
name: Sandbox Pain Clinic
jwks_url: {{app}}/.well-known/jwks.json
scopes: [system/Questionnaire.rs, system/ValueSet.rs, system/Library.rs, system/Claim.cu, system/Subscription.cruds]
organizations: ["{CLINIC_NPI}"]
allow_private: true
allow_http: true
"""
PAYER_ENDPOINT = f"""# Written by the demonstration: the payer's system of record, played by the sandbox.
id: demo
name: Payer's system of record
base_url: {{ehr}}/payer-fhir
auth: backend_services
token_url: {{ehr}}/payer-fhir/oauth/token
client_id: {DELIVERY_CLIENT}
allow_private: true
allow_http: true
"""


def run_quietly(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """One step; its output is shown only when it fails. Raises CalledProcessError."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        done.check_returncode()


def start(program: Program, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that Ctrl-C reaches only the caller, who stops all in order."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [BIN / program.command[0], *program.command[1:]],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
