"""Who reviews, and what each role may do. Rights are the same on every page and in every use case."""

from __future__ import annotations

from enum import Enum

import msgspec

from cds_service.domain.payer import ReviewRules


class Role(Enum):
    """What a person is at the payer; the value is the word of the audit log."""

    PHYSICIAN = "physician"
    PHARMACIST = "pharmacist"
    NURSE = "nurse"
    AUDITOR = "auditor"
    POLICY_OWNER = "policy_owner"


# Of several roles of one person the first of these is acted in; who audits and reviews at once is seen as a reviewer.
PRECEDENCE = tuple(Role)

ROLE_WORDS = {
    Role.PHYSICIAN: "physician",
    Role.PHARMACIST: "pharmacist",
    Role.NURSE: "nurse",
    Role.AUDITOR: "auditor",
    Role.POLICY_OWNER: "policy owner",
}


class Right(Enum):
    """Something that a role may do."""

    READ_CASES = "read_cases"
    WORK = "work"  # take, release, approve, ask for more, propose
    SIGN_ADVERSE = "sign_adverse"  # not certified, or less than was asked for
    READ_FIGURES = "read_figures"
    READ_AUDIT = "read_audit"
    MANAGE_DELIVERY = "manage_delivery"  # what is stuck on its way to the payer's systems: try again, discard


class Person(msgspec.Struct, frozen=True):
    """Somebody who signed in. ``id`` is the identity provider's own and unchanging."""

    id: str
    name: str
    role: Role
    npi: str = ""


_REVIEWER = frozenset({Right.READ_CASES, Right.WORK, Right.READ_FIGURES, Right.MANAGE_DELIVERY})
_RIGHTS = {
    Role.PHYSICIAN: _REVIEWER,
    Role.PHARMACIST: _REVIEWER,
    Role.NURSE: _REVIEWER,
    Role.AUDITOR: frozenset({Right.READ_CASES, Right.READ_FIGURES, Right.READ_AUDIT}),
    Role.POLICY_OWNER: frozenset({Right.READ_FIGURES, Right.MANAGE_DELIVERY}),  # no patient is needed to change a limit
}


def rights_of(role: Role, rules: ReviewRules) -> frozenset[Right]:
    """What this role may do at this payer. A nurse never signs an adverse decision, whatever is configured."""
    signs = role in {Role.PHYSICIAN, Role.PHARMACIST} and role.value in rules.adverse_signers
    return _RIGHTS[role] | ({Right.SIGN_ADVERSE} if signs else set())


def acting_role(roles: frozenset[Role]) -> Role | None:
    """The one role that a person with ``roles`` acts in; None where there is none."""
    return next((role for role in PRECEDENCE if role in roles), None)
