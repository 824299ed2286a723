"""Which prefetch keys a client sends: ``check-client`` tells an integration engineer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

# As in 0001, with one column more.
_HOOK_CALL_VIEW = """
CREATE VIEW hook_call AS
SELECT id, client, service, hook, hook_instance, jti, jti_expires, received, request_digest, policy_digest,
       patient_key, status, outcome, response, prefetched, x'' AS documents, '' AS places, '' AS cards
FROM invocation
"""

_HOOK_CALL_TRIGGER = """
CREATE TRIGGER hook_call_insert INSTEAD OF INSERT ON hook_call
BEGIN
  INSERT INTO invocation (id, client, service, hook, hook_instance, jti, jti_expires, received, request_digest,
    policy_digest, patient_key, status, outcome, response, prefetched)
  VALUES (NEW.id, NEW.client, NEW.service, NEW.hook, NEW.hook_instance, NEW.jti, NEW.jti_expires, NEW.received,
    NEW.request_digest, NEW.policy_digest, NEW.patient_key, NEW.status, NEW.outcome, NEW.response, NEW.prefetched);
  INSERT INTO determination (invocation, id, document)
  SELECT last_insert_rowid(), json_extract(value, '$[0]'),
    substr(NEW.documents, json_extract(value, '$[1]'), json_extract(value, '$[2]'))
  FROM json_each(NEW.places);
  INSERT INTO card (invocation, uuid, rule, ack_key)
  SELECT last_insert_rowid(), json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
  FROM json_each(NEW.cards);
END
"""


def upgrade() -> None:
    """A column that workers of the release before leave empty."""
    op.add_column("invocation", sa.Column("prefetched", sa.Text))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP VIEW hook_call")  # its trigger goes with it
        op.execute(_HOOK_CALL_VIEW)
        op.execute(_HOOK_CALL_TRIGGER)
