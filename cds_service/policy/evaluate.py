"""One draft order held against one guideline: the walk that makes a determination."""

from __future__ import annotations

from datetime import date

from cds_service.domain.determination import OrderDetermination
from cds_service.domain.payer import Payer
from cds_service.domain.vocabulary import Vocabulary
from cds_service.policy.case import Case
from cds_service.policy.model import Guideline


def determine(
    guideline: Guideline, vocabulary: Vocabulary, payer: Payer, case: Case, as_of: date
) -> OrderDetermination:
    """Judge ``case`` as of one day; every criterion of the reported sections is evaluated, whatever the decision."""
    raise NotImplementedError
