"""One line per DTR operation, for its metrics (PS-39); a failure to write it never spoils an answer."""

from __future__ import annotations

from collections.abc import Callable

from cds_service.errors import StoreUnavailable
from cds_service.ports import Clock, FormCall, FormStore
from cds_service.use_cases.documentation.forms import Operation


class RecordCalls:
    """Keeps what an operation did. Thread-safe."""

    def __init__(self, store: FormStore, clock: Clock, incident: Callable[[BaseException], None]) -> None:
        """``incident`` is told of a line that could not be kept."""
        self._store = store
        self._clock = clock
        self._incident = incident

    def __call__(
        self, client: str, operation: str, version: str, answer: Operation | None, status: int, milliseconds: int
    ) -> None:
        """Keep one line; ``answer`` is None where the call was refused."""
        call = FormCall(
            at=self._clock.now(),
            client=client,
            operation=operation,
            version=version,
            status=status,
            milliseconds=milliseconds,
            context=answer.context if answer else "",
            questionnaires=answer.questionnaires if answer else 0,
            items=answer.items if answer else 0,
            outcome=answer.outcome if answer else "refused",
        )
        try:
            self._store.note_form_call(call)
        except StoreUnavailable as error:
            self._incident(error)
