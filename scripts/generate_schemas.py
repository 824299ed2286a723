"""Writes the JSON Schemas of the configuration files for editors; ``--check`` says whether they are current.

The loader reads with the same shapes, so that a schema and what is accepted cannot drift.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cds_service.policy.schema import json_schemas

TARGET = Path(__file__).resolve().parents[1] / "config" / "schemas"


def texts() -> dict[str, str]:
    """Each schema's file name and text."""
    return {
        f"{name_of(pattern)}.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        for pattern, schema in json_schemas().items()
    }


def name_of(pattern: str) -> str:
    """``policies/*/facts.yaml`` is ``facts``; ``terminology/value_sets/*.yaml`` is ``value_sets``."""
    path = Path(pattern)
    return path.parent.name if path.stem == "*" else path.stem


def main() -> int:
    """Write, or compare and name what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a schema is not current")
    wanted = texts()
    if not parser.parse_args().check:
        TARGET.mkdir(exist_ok=True)
        for name, text in wanted.items():
            (TARGET / name).write_text(text, "utf-8")
        return 0
    found = {path.name: path.read_text("utf-8") for path in TARGET.glob("*.json")}
    stale = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    for name in stale:
        print(f"config/schemas/{name} is not current: run python -m scripts.generate_schemas", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
