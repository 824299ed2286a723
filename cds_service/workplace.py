"""The composition of the reviewers' workplace, beside ``app``: who gets in, and what the pages stand on."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from flask import Blueprint

from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.adapters.oidc import OidcSignIn, Provider
from cds_service.adapters.policy_files import Configuration
from cds_service.adapters.secret_files import load_client_secret
from cds_service.adapters.sql import audit
from cds_service.adapters.sql.cases import SqlCaseStore
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.outbox import SqlOutbox
from cds_service.adapters.sql.outbox_desk import SqlOutboxDesk
from cds_service.adapters.sql.review_sessions import SqlSessions
from cds_service.adapters.sql.reviews import SqlReviews
from cds_service.domain.prior_auth import AuditEntry
from cds_service.domain.review import Person, Role
from cds_service.ports import Clock
from cds_service.settings import Settings
from cds_service.use_cases.extend_prior_auth import ExtendPriorAuth
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from cds_service.use_cases.review_case import ReviewCase
from cds_service.use_cases.review_queue import ReviewQueue
from cds_service.use_cases.settle_prior_auth import SettlePriorAuth
from cds_service.web.review.sessions import SessionKeeper
from cds_service.web.review.workplace import Workplace, blueprint

# Made up, like everybody in the demonstration; NPIs are of a range that is not given out.
DEMO_PEOPLE: Final = (
    Person("demo-nurse", "Robin Hale", Role.NURSE),
    Person("demo-pharmacist", "Sam Okafor", Role.PHARMACIST, "1999999901"),
    Person("demo-physician", "Ada Quill", Role.PHYSICIAN, "1999999919"),
    Person("demo-physician-2", "Lee Marsh", Role.PHYSICIAN, "1999999927"),
    Person("demo-policy-owner", "Kim Ortega", Role.POLICY_OWNER),
    Person("demo-auditor", "Pat Novak", Role.AUDITOR),
)


def new_secret() -> str:
    """256 random bits as URL-safe text."""
    return secrets.token_urlsafe(32)


def review_pages(
    settings: Settings, configuration: Configuration, database: Database, parts: PriorAuthParts
) -> Blueprint:
    """Everything below ``/review``; opens no connection. ``parts`` are of the same database."""
    clock = parts.clock
    cases, reads = SqlCaseStore(database), SqlReviews(database)

    def note(entry: AuditEntry) -> None:
        cases.note([entry])

    return blueprint(
        Workplace(
            payer=configuration.payer,
            public_url=settings.public_url,
            keeper=SessionKeeper(
                SqlSessions(database),
                clock,
                new_secret,
                idle=timedelta(minutes=settings.review_idle_minutes),
                longest=timedelta(hours=settings.review_session_hours),
            ),
            queue=ReviewQueue(cases, reads, clock),
            cases=ReviewCase(cases, reads, configuration.guidelines, configuration.vocabulary, clock),
            reads=reads,
            settler=SettlePriorAuth(parts),
            extender=ExtendPriorAuth(parts),
            note=note,
            verify=lambda: audit.verify(database),
            clock=clock,
            guidelines=configuration.guidelines,
            provider=identity_provider(settings, clock),
            outbox=SqlOutboxDesk(database),
            waiting=SqlOutbox(database),
            demo_people=DEMO_PEOPLE if settings.insecure_dev and not settings.oidc_issuer else (),
        )
    )


def identity_provider(settings: Settings, clock: Clock) -> OidcSignIn | None:
    """Where reviewers sign in, if that is settled. Raises ConfigurationError for an unusable secret file."""
    if not settings.oidc_issuer:
        return None
    http = GuardedHttp(insecure_dev=settings.insecure_dev)
    provider = Provider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=load_client_secret(settings.oidc_client_secret_file),
        redirect_uri=f"{settings.public_url}/review/sign-in/callback",
        algorithms=settings.oidc_algorithms,
        hosts=settings.oidc_hosts,
        roles_claim=settings.oidc_roles_claim,
        role_names={word: Role(role) for word, role in settings.oidc_roles},
        npi_claim=settings.oidc_npi_claim,
        allow_private=settings.oidc_allow_private,
        allow_http=settings.insecure_dev,
        ca_file=str(settings.oidc_ca_file) if settings.oidc_ca_file else None,
    )
    return OidcSignIn(provider, http, KeyRing(GuardedKeyFetch(http, clock), clock), clock, new_secret)
