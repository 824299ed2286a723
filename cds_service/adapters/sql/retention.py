"""Removal of what has been kept long enough, in small transactions so that no hook call waits for one."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cds_service.adapters.sql.documentation_tables import FORM_CALL, FORM_ERROR, FORM_RESULT
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.tables import ACCESS_EVENT, CARD, DETERMINATION, FEEDBACK, INVOCATION


def erase(connection: sa.Connection, what: str, before: datetime, most: int) -> int:
    """See ``ports.Store.erase``."""
    number, came = {
        "comment": (FEEDBACK.c.seq, FEEDBACK.c.received),
        "feedback": (FEEDBACK.c.seq, FEEDBACK.c.received),
        "invocation": (INVOCATION.c.seq, INVOCATION.c.received),
        "access": (ACCESS_EVENT.c.seq, ACCESS_EVENT.c.at),
        "form_call": (FORM_CALL.c.seq, FORM_CALL.c.at),
        "form_error": (FORM_ERROR.c.seq, FORM_ERROR.c.at),
        "form_result": (FORM_RESULT.c.context, FORM_RESULT.c.at),
    }[what]
    query = sa.select(number).where(came < microseconds(before)).order_by(came).limit(most)
    if what == "comment":
        query = query.where(FEEDBACK.c.comment.is_not(None))
    chosen = tuple(connection.execute(query).scalars())
    if not chosen:
        return 0
    if what == "comment":
        connection.execute(sa.update(FEEDBACK).where(FEEDBACK.c.seq.in_(chosen)).values(comment=None))
        return len(chosen)
    if what == "invocation":
        connection.execute(sa.delete(DETERMINATION).where(DETERMINATION.c.invocation.in_(chosen)))
        connection.execute(sa.delete(CARD).where(CARD.c.invocation.in_(chosen)))
    connection.execute(sa.delete(number.table).where(number.in_(chosen)))
    return len(chosen)
