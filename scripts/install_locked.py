"""Install a hashed lock with pip, and say meanwhile how far it is. Runs in the new environment, which has pip alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[^]]*\])?==", re.MULTILINE)
_DEALT_WITH = re.compile(r"Collecting |Requirement already satisfied: |Ignoring ")  # the last: of another platform


def main(lock: str) -> int:
    """The exit status of pip; what it complains about is on standard error as always."""
    of = len(_PINNED.findall(Path(lock).read_text("utf-8")))
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--require-hashes")
    with subprocess.Popen([*command, "-r", lock], stdout=subprocess.PIPE, text=True) as pip:
        assert pip.stdout is not None
        for words in progress(pip.stdout, of):
            show(words)
    return pip.returncode


def progress(lines: Iterable[str], of: int) -> Iterator[str]:
    """What to show for pip's lines, with ``of`` packages to come; every tenth, as more would be noise in a log."""
    found = 0
    for line in lines:
        if _DEALT_WITH.match(line):
            found += 1
            if found % 10 == 0 or found == of:
                yield f"  fetched {found} of {of} packages"
        elif line.startswith("Installing collected packages"):
            yield "  unpacking them"


def show(words: str) -> None:
    """At once, also where the output is no terminal."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
