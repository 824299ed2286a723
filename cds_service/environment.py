"""Environment variables read strictly: what the settings of the service and of the app have in common.

Every wrong variable is told, not only the first, and a contradiction only where all that it concerns could be read.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cds_service.errors import ConfigurationError

Reader = Callable[[str, str], object]  # variable, its text -> value; raises ConfigurationError
Contradiction = tuple[tuple[str, ...], str]  # the variables concerned, the one to change first, and what is wrong


def read_variables(
    source: Mapping[str, str], prefix: str, variables: Mapping[str, tuple[str, Reader]], page: str
) -> tuple[dict[str, object], dict[str, str]]:
    """Values by field, and what is wrong by variable. An empty text is as good as none.

    An unknown name with our prefix is wrong: a misspelt setting that silently does nothing is found too late. ``page``
    lists the names.
    """
    values: dict[str, object] = {}
    wrong: dict[str, str] = {}
    for name, given in sorted(source.items()):
        if name.startswith(prefix) and name not in variables:
            near = difflib.get_close_matches(name, variables, 1)
            wrong[name] = f"{name} is not a setting; " + (f"did you mean {near[0]}?" if near else f"see {page}")
        elif name in variables and given != "":
            field, read = variables[name]
            try:
                values[field] = read(name, given)
            except ConfigurationError as error:
                wrong[name] = error.diagnostics
    return values, wrong


def refuse(contradictions: Iterable[Contradiction], wrong: Mapping[str, str] | None = None) -> None:
    """Raise ConfigurationError for everything that is wrong, a line each; none: nothing happens."""
    wrong = wrong or {}
    told = [*wrong.items()]
    told += [(names[0], text) for names, text in contradictions if wrong.keys().isdisjoint(names)]
    if told:
        raise ConfigurationError("\n".join(text for _, text in told), expression=told[0][0])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> str:
    """A database URL without what must not be shown: password and query."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url.partition("?")[0]
    return f"{parts.scheme}://{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}{parts.path}"


def as_text(_name: str, given: str) -> str:
    """Whatever it is."""
    return given


def as_path(_name: str, given: str) -> Path:
    """A file or folder, relative to where the program was started."""
    return Path(given)


def as_switch(name: str, given: str) -> bool:
    """On or off."""
    allowed = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}
    if given.lower() not in allowed:
        raise ConfigurationError(f"{name} is {given!r}; allowed: on, off", expression=name)
    return allowed[given.lower()]


def as_whole(least: int, most: int) -> Reader:
    """A whole number within bounds."""

    def read(name: str, given: str) -> int:
        if not (re.fullmatch(r"[0-9]{1,9}", given) and least <= int(given) <= most):
            raise ConfigurationError(f"{name} is {given!r}; allowed: a whole number {least} to {most}", expression=name)
        return int(given)

    return read


def as_seconds(name: str, given: str) -> float:
    """Seconds above 0."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", given) or float(given) <= 0:
        raise ConfigurationError(f"{name} is {given!r}; allowed: seconds above 0, like 1.5", expression=name)
    return float(given)


def one_of(allowed: tuple[str, ...]) -> Reader:
    """A word of a closed list."""

    def read(name: str, given: str) -> str:
        if given not in allowed:
            raise ConfigurationError(f"{name} is {given!r}; allowed: {', '.join(allowed)}", expression=name)
        return given

    return read


def words(allowed: tuple[str, ...] = ()) -> Reader:
    """Words with commas between, of a closed list if there is one."""

    def read(name: str, given: str) -> tuple[str, ...]:
        found = tuple(word.strip() for word in given.split(",") if word.strip())
        if allowed and (strange := [word for word in found if word not in allowed]):
            raise ConfigurationError(f"{name} holds {strange[0]!r}; allowed: {', '.join(allowed)}", expression=name)
        return found

    return read
