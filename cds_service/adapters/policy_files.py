"""Reads ``config/``: policies, terminology, payer. Strict: every complaint is collected, then all are told at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cds_service.adapters.strict_yaml import read
from cds_service.domain.payer import Payer
from cds_service.domain.prior_auth_rules import PriorAuthRules
from cds_service.domain.vocabulary import Vocabulary
from cds_service.errors import ConfigurationError
from cds_service.policy.model import Guideline
from cds_service.policy.parse import parse_guideline
from cds_service.policy.parse_payer import parse_payer
from cds_service.policy.parse_terminology import parse_vocabulary
from cds_service.policy.prior_auth_schema import BILLING_FILE, PRIOR_AUTH_FILE, parse_prior_auth
from cds_service.policy.schema import GUIDELINE_FILES, PAYER_FILE, TERMINOLOGY_FILES, VALUE_SETS_FILE
from cds_service.policy.shapes import Reading
from cds_service.policy.source import Complaint, Entry

_MAX_BYTES = 2_000_000


class Configuration(msgspec.Struct, frozen=True):
    """Everything under ``config/`` that decides. ``digest``: "sha256:<hex>" over all its files."""

    guidelines: tuple[Guideline, ...]
    vocabulary: Vocabulary
    payer: Payer
    digest: str
    prior_auth: PriorAuthRules = PriorAuthRules()


def load_configuration(config_dir: Path) -> Configuration:
    """The configuration in a directory.

    Raises:
        ConfigurationError: naming file, line, what was found and what is allowed, for every complaint.
    """
    configuration, complaints = _load(config_dir)
    if configuration is None or complaints:
        listed = "\n".join(str(complaint) for complaint in sorted(set(complaints)))
        raise ConfigurationError(f"the configuration cannot be used:\n{listed}")
    return configuration


def load_vocabulary(config_dir: Path) -> Vocabulary:
    """The terminology alone, for programs that read orders and hold no guideline. Raises ConfigurationError."""
    complaints: list[Complaint] = []
    folder = _Folder(config_dir, complaints)
    terms = {name: folder.read(Path("terminology") / name, shape) for name, shape in TERMINOLOGY_FILES.items()}
    sets = [folder.read(path, VALUE_SETS_FILE) for path in folder.files("terminology/value_sets", "*.yaml")]
    if not complaints and _complete([terms]):
        vocabulary = parse_vocabulary(_read(terms), [entry for entry in sets if entry is not None], complaints)
        if not complaints:
            return vocabulary
    listed = "\n".join(str(complaint) for complaint in sorted(set(complaints)))
    raise ConfigurationError(f"the terminology cannot be used:\n{listed}")


def check(config_dir: Path) -> list[Complaint]:
    """Every complaint about the configuration in a directory; empty when it can be used."""
    return sorted(set(_load(config_dir)[1]))


def _load(config_dir: Path) -> tuple[Configuration | None, list[Complaint]]:
    complaints: list[Complaint] = []
    folder = _Folder(config_dir, complaints)
    terms = {name: folder.read(Path("terminology") / name, shape) for name, shape in TERMINOLOGY_FILES.items()}
    sets = [folder.read(path, VALUE_SETS_FILE) for path in folder.files("terminology/value_sets", "*.yaml")]
    payer_entry = folder.read(Path("payer.yaml"), PAYER_FILE)
    prior_auth = folder.read_if_there(Path("prior_auth.yaml"), PRIOR_AUTH_FILE)
    billing = folder.read_if_there(Path("terminology/billing.yaml"), BILLING_FILE)
    policies = {
        name: {file: folder.read(Path("policies") / name / file, shape) for file, shape in GUIDELINE_FILES.items()}
        for name in folder.folders("policies")
    }
    folder.check_no_others()
    if not policies:
        complaints.append(Complaint(folder.shown(Path("policies")), 1, "", "no guideline", "one folder per guideline"))
    if complaints or not _complete([terms, *policies.values()]) or payer_entry is None or None in sets:
        return None, complaints  # what refers to what is looked at once every file has its shape
    vocabulary = parse_vocabulary(_read(terms), [entry for entry in sets if entry is not None], complaints)
    payer = parse_payer(payer_entry, complaints)
    rules = parse_prior_auth(prior_auth, billing, vocabulary, complaints)
    if complaints:
        return None, complaints
    guidelines = []
    for name, files in policies.items():
        own = folder.digest((f"policies/{name}/", "terminology/", "payer.yaml"))
        guideline = parse_guideline(_read(files), vocabulary, own, complaints)
        if guideline is not None:
            guidelines.append(guideline)
    _refuse_twins(guidelines, folder, complaints)
    if complaints:
        return None, complaints
    return Configuration(tuple(guidelines), vocabulary, payer, folder.digest(("",)), rules), complaints


def _complete(groups: Iterable[Mapping[str, Entry | None]]) -> bool:
    return all(entry is not None for group in groups for entry in group.values())


def _read(files: Mapping[str, Entry | None]) -> dict[str, Mapping[str, Any]]:
    return {name: entry for name, entry in files.items() if entry is not None}


def _refuse_twins(guidelines: list[Guideline], folder: _Folder, complaints: list[Complaint]) -> None:
    seen: set[tuple[str, object]] = set()
    where = folder.shown(Path("policies"))
    for each in guidelines:
        for key, what in (
            ((each.id, each.version), f"{each.id} {each.version} twice"),
            ((each.id, each.effective), f"two versions of {each.id} effective {each.effective}"),
        ):
            if key in seen:
                complaints.append(Complaint(where, 1, "", what, "each version once, each with a day of its own"))
            seen.add(key)


class _Folder:
    """One configuration directory, each file of it read once."""

    def __init__(self, root: Path, complaints: list[Complaint]) -> None:
        self.root = root
        self.complaints = complaints
        self.bytes: dict[str, bytes] = {}

    def shown(self, path: Path) -> str:
        """As messages name it."""
        return str(self.root / path)

    def files(self, folder: str, pattern: str) -> list[Path]:
        """Files of a folder, by name."""
        return sorted(path.relative_to(self.root) for path in (self.root / folder).glob(pattern))

    def folders(self, folder: str) -> list[str]:
        """Names of folders in a folder."""
        parent = self.root / folder
        return sorted(path.name for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []

    def read(self, path: Path, shape: Any) -> Entry | None:
        """One file in its shape, or None with complaints."""
        shown = self.shown(path)
        try:
            content = (self.root / path).read_bytes()
            text = content.decode("utf-8")
        except OSError:
            self.complaints.append(Complaint(shown, 1, "", "no such file that can be read", "a YAML file"))
            return None
        except UnicodeDecodeError:
            self.complaints.append(Complaint(shown, 1, "", "bytes that are not UTF-8", "UTF-8 text"))
            return None
        if len(content) > _MAX_BYTES:
            self.complaints.append(Complaint(shown, 1, "", f"{len(content)} bytes", f"at most {_MAX_BYTES}"))
            return None
        self.bytes[path.as_posix()] = content
        node = read(text, shown, self.complaints)
        if node is None:
            return None
        entry = shape.read(node, "", Reading(self.complaints))
        return entry if isinstance(entry, Entry) else None

    def read_if_there(self, path: Path, shape: Any) -> Entry | None:
        """One file that may be left out."""
        return self.read(path, shape) if (self.root / path).exists() else None

    def check_no_others(self) -> None:
        """A YAML file that nobody reads is a slip of its author."""
        for folder in ("policies", "terminology"):
            for path in sorted((self.root / folder).rglob("*.y*ml")):
                name = path.relative_to(self.root).as_posix()
                if name not in self.bytes and not any(str(path) == each.file for each in self.complaints):
                    self.complaints.append(
                        Complaint(str(path), 1, "", "a file that nothing reads", "the known file names")
                    )

    def digest(self, prefixes: tuple[str, ...]) -> str:
        """sha256 over names and bytes of the files under ``prefixes``."""
        total = hashlib.sha256()
        for name in sorted(self.bytes):
            if name.startswith(prefixes):
                total.update(f"{name}\0{len(self.bytes[name])}\0".encode())
                total.update(self.bytes[name])
        return f"sha256:{total.hexdigest()}"
