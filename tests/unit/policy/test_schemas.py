"""The schemas for editors: current, and of one mind with the loader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cds_service.policy.chart_sources import KINDS_OF_SOURCE
from cds_service.policy.predicates import PREDICATES
from cds_service.policy.schema import FILES, json_schemas


def test_the_schemas_on_file_are_current(project_root: Path) -> None:
    script = project_root / "scripts" / "generate_schemas.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        cwd=project_root,
        env={"PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_file_has_a_schema_that_refuses_other_keys() -> None:
    schemas = json_schemas()
    assert set(schemas) == set(FILES)
    for schema in schemas.values():
        assert schema["additionalProperties"] is False
        json.dumps(schema)


def test_every_kind_stands_in_the_schema() -> None:
    definitions = json_schemas()["policies/*/policy.yaml"]["$defs"]
    kinds = {key for each in definitions["test"]["oneOf"] for key in each["properties"]}
    sources = {key for each in definitions["chart_source"]["oneOf"] for key in each["properties"]}
    assert kinds == set(PREDICATES)
    assert sources == set(KINDS_OF_SOURCE)
