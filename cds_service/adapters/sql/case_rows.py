"""Cases and versions as rows, and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql.instants import instant, microseconds
from cds_service.domain.prior_auth import Case, CaseState, CaseSummary, Submission, Version

_SUMMARY: Final = msgspec.json.Decoder(CaseSummary).decode
_ENCODE: Final = msgspec.json.Encoder(order="sorted").encode


def case_of(row: sa.RowMapping) -> Case:
    """A row of ``pa_case``."""
    return Case(
        **{name: row[name] for name in _PLAIN},
        expedited=bool(row["expedited"]),
        has_drug=bool(row["has_drug"]),
        state=CaseState(row["state"]),
        summary=_SUMMARY(row["summary"]),
        received=instant(row["received"]),
        due=_instant(row["due"]),
        decided=_instant(row["decided"]),
        service_end=_instant(row["service_end"]),
    )


def row_of(case: Case) -> dict[str, Any]:
    """The case as a row."""
    row: dict[str, Any] = {name: getattr(case, name) for name in _PLAIN}
    return row | {
        "expedited": int(case.expedited),
        "has_drug": int(case.has_drug),
        "state": case.state.value,
        "summary": _ENCODE(case.summary).decode(),
        "received": microseconds(case.received),
        "due": _number(case.due),
        "decided": _number(case.decided),
        "service_end": _number(case.service_end),
    }


def version_of(row: sa.RowMapping) -> Version:
    """A row of ``pa_version``."""
    values = {name: row[name] for name in Version.__struct_fields__}
    request = row["request"]
    return Version(
        **values
        | {
            "at": instant(row["at"]),
            "request": None if request is None else bytes(request),
            "response": bytes(row["response"]),
            "trace": bytes(row["trace"]),
            "human": bool(row["human"]),
        }
    )


def version_row(version: Version) -> dict[str, Any]:
    """The version as a row."""
    row: dict[str, Any] = {name: getattr(version, name) for name in Version.__struct_fields__}
    return row | {"at": microseconds(version.at), "human": int(version.human)}


def submission_of(row: sa.RowMapping) -> Submission:
    """A row of ``pa_submission``."""
    return Submission(**{name: row[name] for name in Submission.__struct_fields__})


def _instant(number: int | None) -> datetime | None:
    return None if number is None else instant(number)


def _number(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


_PLAIN: Final = (
    "id", "tracking_number", "sender", "provider_organization", "ordering_npi", "rendering_npi", "member_id",
    "patient_key", "program", "benefit", "request_type", "version", "assigned_to",
)  # fmt: skip
