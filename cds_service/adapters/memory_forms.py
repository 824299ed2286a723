"""``ports.FormStore`` that lives and dies with the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cds_service.ports import FormCall, FormError

_MOST = 10_000  # calls and errors kept: a process that runs for days must not fill its memory with them


class MemoryForms:
    """The twin of ``adapters.sql.forms``; held to the same contract suite."""

    def __init__(self) -> None:
        self._forms_lock = threading.Lock()
        self._assertions: dict[tuple[str, str], int] = {}
        self.form_calls: deque[FormCall] = deque(maxlen=_MOST)
        self.form_errors: deque[tuple[str, FormError, datetime]] = deque(maxlen=_MOST)
        self._form_results: dict[str, tuple[datetime, bytes]] = {}

    def use_assertion(self, client: str, jti: str, expires: int, now: int) -> bool:
        """See ``ports.FormStore``."""
        with self._forms_lock:
            self._assertions = {used: until for used, until in self._assertions.items() if until >= now}
            if (client, jti) in self._assertions:
                return False
            self._assertions[client, jti] = expires
            return True

    def note_form_call(self, call: FormCall) -> None:
        """See ``ports.FormStore``."""
        self.form_calls.append(call)

    def note_form_errors(self, client: str, errors: Sequence[FormError], at: datetime) -> None:
        """See ``ports.FormStore``."""
        self.form_errors.extend((client, error, at) for error in errors)

    def keep_form_result(self, context: str, client: str, document: bytes, at: datetime) -> None:
        """See ``ports.FormStore``."""
        del client
        with self._forms_lock:
            self._form_results[context] = (at, document)

    def form_result(self, context: str) -> bytes | None:
        """See ``ports.FormStore``."""
        with self._forms_lock:
            found = self._form_results.get(context)
        return found[1] if found else None

    def erase_forms(self, what: str, before: datetime, most: int) -> int:
        """The part of ``ports.Store.erase`` that is about forms."""
        with self._forms_lock:
            if what == "form_result":
                old = sorted((at, context) for context, (at, _) in self._form_results.items() if at < before)[:most]
                for _, context in old:
                    del self._form_results[context]
                return len(old)
            held: deque[Any] = self.form_calls if what == "form_call" else self.form_errors
            gone = [each for each in held if (each.at if what == "form_call" else each[2]) < before][:most]
            for each in gone:
                held.remove(each)
            return len(gone)
