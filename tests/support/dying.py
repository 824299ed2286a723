"""``cds-service`` that kills itself at a chosen step: ``python -m tests.support.dying FILE serve ...``.

FILE is watched at every step; when it names the step just reached, the process that takes it away first ends by
SIGKILL, there and then. Whoever wants a death writes the name of a step into FILE.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUBMIT = ("submit:before", "submit:in_transaction", "submit:before_commit", "submit:after_commit")
DELIVER = (
    "deliver:before_claim",
    "deliver:after_claim",
    "deliver:before_send",
    "deliver:after_send",
    "deliver:before_settle",
    "deliver:in_settle",
    "deliver:after_settle",
)


def _reached(file: Path, step: str) -> None:
    try:
        if file.read_text() != step:
            return
        file.rename(file.with_name(f"{file.name}.{os.getpid()}"))  # of two processes one wins
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str, file: Path, before: str = "", after: str = "") -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def stepping(*args: Any, **kwargs: Any) -> Any:
        if before:
            _reached(file, before)
        result = original(*args, **kwargs)
        if after:
            _reached(file, after)
        return result

    setattr(owner, name, stepping)


def arm(file: Path) -> None:
    """Watch the steps of this process and of its children."""
    from cds_service.adapters import claim_response_http  # noqa: PLC0415 - the parent may not need all of it
    from cds_service.adapters.sql import audit, cases, outbox  # noqa: PLC0415

    _around(cases.SqlCaseStore, "commit", file, "submit:before", "submit:after_commit")
    _around(audit, "append", file, "submit:in_transaction", "submit:before_commit")
    _around(outbox.SqlOutbox, "claim", file, "deliver:before_claim", "deliver:after_claim")
    _around(claim_response_http.HttpClaimResponseSender, "send", file, "deliver:before_send", "deliver:after_send")
    _around(outbox.SqlOutbox, "settle", file, "deliver:before_settle", "deliver:after_settle")
    _around(outbox, "_attempted", file, "deliver:in_settle")


if __name__ == "__main__":
    arm(Path(sys.argv[1]))
    from cds_service.cli import main

    main(sys.argv[2:], prog_name="cds-service")
