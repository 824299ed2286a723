"""What is kept of a launch's forms between two requests, sealed by the store and gone with it.

Four kinds of record: the ``work`` (what is wanted, by whom, which forms), the ``chart`` (what was read of the EHR), and
for each form its ``package`` (as the payer sent it) and its ``form`` (what has been answered). Only the last changes
often, so only the last is written with every answer.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from cds_service.domain.record import Therapy
from smart_app.adapters.store import AppStore
from smart_app.dtr.context import NOTHING, Wanted
from smart_app.dtr.signed_order import Draft
from smart_app.errors import FormChanged
from smart_app.sdc.context import Found
from smart_app.sdc.filling import Author, Filling

Resource = dict[str, Any]


class FormEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One form in the list of a launch. ``unusable``: sentences that say why it cannot be shown here."""

    number: int
    canonical: str
    title: str
    adaptive: str = ""
    unusable: tuple[str, ...] = ()


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What this launch is about. ``messages``: (severity, text) of the payer."""

    wanted: Wanted = NOTHING
    payer: str = ""
    author: Author
    may_sign: bool
    opened: datetime
    forms: tuple[FormEntry, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    draft: Draft = Draft()


class ChartCopy(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of the EHR for this launch."""

    patient: Resource = {}
    user: Resource = {}
    encounter: Resource = {}
    coverage: Resource = {}
    orders: dict[str, Resource] = {}
    related: dict[str, Resource] = {}  # Medication, Organization: by reference
    therapies: tuple[Therapy, ...] = ()
    not_seen: tuple[str, ...] = ()  # sentences: what could not be read


class PackageCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One form as the payer sent it."""

    questionnaire: Resource
    draft: Resource | None = None
    value_sets: tuple[Resource, ...] = ()
    libraries: tuple[Resource, ...] = ()
    saved: Resource | None = None  # an earlier draft in the EHR, which is resumed
    expired: bool = False


class Failed(msgspec.Struct, frozen=True):
    """Something that could not be filled in by itself; ``where`` is a link id."""

    where: str
    text: str


class FormFile(msgspec.Struct, frozen=True, kw_only=True):
    """One form as far as it is filled.

    ``ident``, ``etag``: of the response in the EHR, "" before it was created. ``status``: ``in-progress``,
    ``completed`` or ``stopped``. ``changed``: there are answers that the EHR does not have yet. ``theirs``: the EHR's
    version where it was changed elsewhere; the person chooses. ``grown``: the contained questionnaire of an adaptive
    form.
    """

    canonical: str = ""
    orders: tuple[str, ...] = ()
    filling: Filling = Filling()
    found: dict[str, Found] = {}
    as_of: datetime
    failures: tuple[Failed, ...] = ()
    reported: bool = False
    ident: str = ""
    etag: str = ""
    identifier: str = ""
    status: str = "in-progress"
    saved: datetime | None = None
    changed: bool = False
    theirs: Resource | None = None
    theirs_etag: str = ""
    grown: Resource | None = None
    finished: bool = False  # an adaptive form: the payer has no further question
    coverage_information: tuple[Resource, ...] = ()
    disputed: tuple[str, ...] = ()  # assertion ids that the clinician holds to be wrong
    intended_use: tuple[str, ...] = ("withpa", "retain-doc")
    payers_own: tuple[Resource, ...] = ()  # root extensions of a draft that mean something to whoever wrote it
    others: Resource = {}  # further members of the draft that was resumed (``dtr.wire.others_of``)
    completed: Resource | None = None  # as it was signed


class Versioned(msgspec.Struct, frozen=True):
    """A form with the version under which it is kept."""

    file: FormFile
    version: int


_T = TypeVar("_T", Work, ChartCopy, PackageCopy, FormFile)
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


class LeftBehind(msgspec.Struct, frozen=True):
    """Answers that an earlier launch of the same person for the same patient kept, and the EHR never got."""

    launch: str
    kind: str
    kept: datetime
    file: FormFile


class FormStore:
    """The records of one launch."""

    def __init__(self, store: AppStore, launch_id: str) -> None:
        """Over the app's own store."""
        self._store = store
        self._launch = launch_id

    def left_behind(self, canonical: str, orders: tuple[str, ...]) -> LeftBehind | None:
        """The newest unsaved answers to the same form about the same orders (SM-42)."""
        for left in self._store.left_forms(self._launch):
            if not left.kind.startswith("form-"):
                continue
            file = _decode(left.blob, FormFile)
            same = file.canonical == canonical and file.orders == orders
            if same and file.changed and file.status == "in-progress":
                return LeftBehind(left.launch_id, left.kind, left.kept, file)
        return None

    def forget(self, left: LeftBehind) -> None:
        """They were taken over, or are not wanted."""
        self._store.drop_form(left.launch, left.kind)

    def work(self) -> Work | None:
        """What the launch is about; None before it was opened."""
        return self._get("work", Work)

    def chart(self) -> ChartCopy:
        """What was read of the EHR."""
        return self._get("chart", ChartCopy) or ChartCopy()

    def package(self, number: int) -> bytes | None:
        """A package as it is kept, for ``decode_package``."""
        kept = self._store.form(self._launch, f"package-{number}")
        return kept.blob if kept is not None else None

    def form(self, number: int) -> Versioned | None:
        """A form and its version; None where nobody has opened it yet."""
        kept = self._store.form(self._launch, f"form-{number}")
        return None if kept is None else Versioned(_decode(kept.blob, FormFile), kept.version)

    def keep_form(self, number: int, file: FormFile, version: int) -> int:
        """Raises FormChanged when another request was quicker."""
        return self._store.keep_form(self._launch, f"form-{number}", _ENCODE(file), version)

    def drop_forms(self) -> None:
        """Begin anew: what was filled in for another choice is not taken over."""
        work = self.work()
        for entry in work.forms if work is not None else ():
            self._store.drop_form(self._launch, f"form-{entry.number}")

    def keep_work(self, work: Work) -> None:
        """The last one wins: it says which forms there are, not what is in them."""
        self._put("work", work)

    def keep_chart(self, chart: ChartCopy) -> None:
        """Replaces the earlier one."""
        self._put("chart", chart)

    def keep_package(self, number: int, package: PackageCopy) -> None:
        """Replaces the earlier one."""
        self._put(f"package-{number}", package)

    def _get(self, kind: str, shape: type[_T]) -> _T | None:
        kept = self._store.form(self._launch, kind)
        return None if kept is None else _decode(kept.blob, shape)

    def _put(self, kind: str, value: Work | ChartCopy | PackageCopy) -> None:
        for _ in range(3):
            kept = self._store.form(self._launch, kind)
            try:
                self._store.keep_form(self._launch, kind, _ENCODE(value), 0 if kept is None else kept.version)
            except FormChanged:
                continue
            return
        raise FormChanged("another request writes the same record")


def decode_package(blob: bytes) -> PackageCopy:
    """What ``FormStore.package`` gave."""
    return _decode(blob, PackageCopy)


def _decode(blob: bytes, shape: type[_T]) -> _T:
    return msgspec.json.Decoder(shape, float_hook=Decimal).decode(blob)
