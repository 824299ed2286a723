"""A person decides a pended case: what would be sent (``draft``), and the decision itself (``settle``)."""

from __future__ import annotations

from cds_service.domain.prior_auth import HumanDecision, Version


class SettlePriorAuth:
    """The use case. Thread-safe: nothing of a decision is kept on it."""

    def draft(self, decision: HumanDecision) -> bytes:
        """The response Bundle as it would be sent; writes nothing. Refuses what ``settle`` refuses."""
        raise RuntimeError

    def settle(self, decision: HumanDecision) -> Version:
        """Write the decision: version, response bytes, audit, event, deliveries and notices in one transaction.

        Raises:
            NotFound: there is no such case.
            Conflict: the case is not at ``version_seen`` any more, or is not pended (cancelled: P088).
            RuleBroken: what decisions 6 forbids; ``expression`` names the line, e.g. ``items[0].reason``.
            NotAllowed: this person may not sign it alone.
        """
        raise RuntimeError
