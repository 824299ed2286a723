"""The documentation context of a pended case: under it the form for what is still wanted is asked for (PS-09, P052)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from cds_service.domain.determination import Program
from cds_service.domain.documentation import PREFIX, DocumentationContext, encode_context
from cds_service.domain.prior_auth import Case
from cds_service.fhir.pas.request import PasRequest
from cds_service.fhir.questionnaire import canonical
from cds_service.use_cases.documented import documented, member_digest, patient_digest
from cds_service.use_cases.judge_request import Assessed, Assessment


def context_of(
    case: Case, assessment: Assessment, request: PasRequest, key: bytes, day: date, wanted: Sequence[str] | None = None
) -> tuple[str, bytes] | None:
    """(id, document) of the context of a case; None where no line is the guideline's.

    ``wanted``: the facts that a reviewer asks for: the form is the one that asks question by question, for just these.
    Else what the determination misses, in the whole form.
    """
    orders = []
    for each in assessment.lines:
        if each.judged is None or not _of_guideline(each):
            continue
        guideline = each.judged.rules.guideline
        order = documented(each.judged, canonical(guideline, adaptive=wanted is not None))
        if wanted is not None:
            order = msgspec.structs.replace(order, missing=tuple(wanted), only=tuple(wanted))
        orders.append(order)
    if not orders or not case.summary.context:
        return None
    judged = next(each.judged for each in assessment.lines if each.judged is not None)
    context = DocumentationContext(
        assertion=case.summary.context,
        as_of=day,
        client=case.sender,
        coverage=assessment.coverage.reference or request.local.names[request.coverage.index],
        patient=patient_digest(key, request.patient_id),
        member=member_digest(key, case.member_id),
        policy_id=judged.rules.guideline.id,
        policy_version=judged.rules.guideline.version,
        orders=tuple(orders),
    )
    return PREFIX + case.summary.context, encode_context(context)


def _of_guideline(each: Assessed) -> bool:
    if each.judged is None:
        return False
    determination = each.judged.determination
    return determination.in_scope is not False and determination.program is not Program.OTHER_PAYER
