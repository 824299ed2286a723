"""What the use cases of forms need of the app: clients, store, clock, ids, and the payers' packages seen lately."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import msgspec

from cds_service.domain.vocabulary import Vocabulary
from smart_app.adapters.payer_client import PayerClient
from smart_app.adapters.store import AppStore
from smart_app.dtr.package import FormPackage
from smart_app.dtr.signature import Sign
from smart_app.registry import Registry


class SeenPackages:
    """Questionnaires seen lately, so that a draft that is resumed can ask "changed since?" (AP-07). Thread-safe.

    Without the payer's draft answers: nothing about a patient is kept here. Another process only asks once more.
    """

    def __init__(self, most: int = 64) -> None:
        """Keeps at most ``most`` questionnaires."""
        self._most = most
        self._held: OrderedDict[tuple[str, str], tuple[FormPackage, datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, payer: str, form: FormPackage, at: datetime) -> None:
        """Remember a form of a payer, seen at ``at``."""
        bare = FormPackage(form.questionnaire, None, form.value_sets, form.libraries)
        with self._lock:
            self._held[payer, form.canonical] = (bare, at)
            self._held.move_to_end((payer, form.canonical))
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def find(self, payer: str, canonical: str) -> tuple[FormPackage, datetime] | None:
        """The form and when it was seen."""
        with self._lock:
            return self._held.get((payer, canonical))


class FormParts(msgspec.Struct, frozen=True):
    """Shared by all launches."""

    registry: Registry
    store: AppStore
    payers: PayerClient
    vocabulary: Vocabulary
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    sign: Sign
    seen: SeenPackages
