"""Submits in a process of its own whose disk can be made full: ``python -m tests.support.submit_process DATABASE``."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from cds_service.adapters.sql.migrate import migrate
from tests.support import pas_bundles
from tests.support.pas_service import Pas


def main() -> None:
    """Submit, let no file grow any more, submit until it is refused, give room again, submit again what was refused."""
    path = Path(sys.argv[1])
    migrate(f"sqlite:///{path}")
    pas = Pas(path)
    answered = [pas.submit(pas_bundles.request(number=1)).bytes]
    size = max(Path(name).stat().st_size for name in (path, Path(f"{path}-wal")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 60_000, resource.RLIM_INFINITY))
    refused = None
    for number in range(2, 200):
        answer = pas.submit(pas_bundles.request(number=number))
        if answer.status != 200:
            refused = (number, answer.status)
            break
        answered.append(answer.bytes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert refused is not None
    again = pas.submit(pas_bundles.request(number=refused[0]))
    same = all(pas.submit(pas_bundles.request(number=number)).bytes == kept for number, kept in enumerate(answered, 1))
    cases = pas.rows("SELECT count(*) FROM pa_case")[0][0]
    sys.stdout.write(f"refused {refused[1]} again {again.status} same {same} cases {cases - len(answered)}\n")


if __name__ == "__main__":
    main()
