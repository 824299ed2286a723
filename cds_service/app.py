"""The composition root: every adapter is chosen and joined to its use case here, and nowhere else."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from wsgiref.types import WSGIApplication

import msgspec
from flask import Blueprint
from joserfc.jwk import ECKey

from cds_service.adapters.backend_client_files import load_backend_clients
from cds_service.adapters.backend_tokens import BackendTokens
from cds_service.adapters.client_auth import ClientAuthenticator
from cds_service.adapters.client_files import load_clients
from cds_service.adapters.endpoint_files import load_endpoints
from cds_service.adapters.fhir_http import HttpFhirReader
from cds_service.adapters.guarded_http import GuardedHttp, server_states
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.adapters.licensed_codes import load_licensed_codes
from cds_service.adapters.memory import MemoryStore
from cds_service.adapters.policy_files import Configuration, load_configuration
from cds_service.adapters.secret_files import load_or_make_key, load_or_make_token_key, load_readers
from cds_service.adapters.subscriber_addresses import SubscriberAddresses
from cds_service.adapters.system import SystemClock, new_id
from cds_service.adapters.token_purchase import public_keys
from cds_service.backend_clients import BackendClient
from cds_service.cds_hooks.services import SERVICES
from cds_service.clients import ClientProfile
from cds_service.errors import NotFound, StoreUnavailable
from cds_service.fhir.dtr.capability import capability_statement
from cds_service.fhir.dtr.parameters import read_expand
from cds_service.fhir.form_urls import VERSIONS
from cds_service.policy.page import page
from cds_service.ports import Caller, FhirReader, FormStore, PrefetchSeen, Store
from cds_service.settings import Settings
from cds_service.use_cases.check_client import Report, check_client
from cds_service.use_cases.decide import Addresses, Rules, prepare
from cds_service.use_cases.documentation.form_errors import LogFormErrors
from cds_service.use_cases.documentation.forms import prepare_forms
from cds_service.use_cases.documentation.next_question import NextQuestion
from cds_service.use_cases.documentation.packages import QuestionnairePackage
from cds_service.use_cases.documentation.record_calls import RecordCalls
from cds_service.use_cases.documentation.terminology import Terminology
from cds_service.use_cases.evaluate_fetching import EvaluateFetching
from cds_service.use_cases.feed_authorizations import FeedAuthorizations
from cds_service.use_cases.inquire_prior_auth import InquirePriorAuth
from cds_service.use_cases.order_sign import OrderSign
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from cds_service.use_cases.record_feedback import RecordFeedback
from cds_service.use_cases.submit_prior_auth import SubmitPriorAuth
from cds_service.use_cases.subscriptions import SubscribeToAnswers
from cds_service.web import cds_services, dtr, feed, oauth, pages, pas
from cds_service.web.application import Parts, application
from cds_service.web.log_lines import LineWriter
from cds_service.web.metrics import Metrics

log = logging.getLogger(__name__)

FHIR_BASES = ("/dtr/2.0.1", "/dtr/2.2", "/pas/2.0.1", "/pas/2.2")
DOCUMENTS = Path(__file__).resolve().parents[1] / "docs"


class DurableStore(Store, FormStore, Protocol):
    """All that one process remembers."""


class Adapters(msgspec.Struct, frozen=True, kw_only=True):
    """The outside world of one process. Tests put twins in its place."""

    configuration: Configuration
    clients: Mapping[str, ClientProfile]  # by issuer
    authenticator: cds_services.Authenticator
    store: DurableStore
    systems: BackendTokens  # who calls DTR and PAS
    reader: FhirReader
    clock: SystemClock
    key: bytes
    readers: Mapping[str, str]
    metrics: Metrics
    writer: LineWriter
    public_keys: bytes = b'{"keys":[]}'  # JWK Set of the key that signs what we say of ourselves


class OpenDoor:
    """Takes every caller for one client without rights at any EHR: `CDS_CLIENT_AUTH=off`, for measuring only."""

    def __init__(self) -> None:
        profile = ClientProfile(id="unauthenticated", name="unauthenticated caller", issuer="unauthenticated")
        self._caller = Caller(profile, None, None)

    def verify(self, authorization_values: tuple[str, ...], url: str) -> Caller:
        """Whoever it is."""
        del authorization_values, url
        return self._caller


def create_app(settings: Settings, world: Adapters) -> WSGIApplication:
    """The WSGI application. Opens no connection: gunicorn's workers call it after the fork."""
    rules = load_rules(world.configuration, settings)
    hooks = cds_services.Hooks(
        base_url=settings.public_url,
        discovery=rules.discovery,
        discovery_digest=sha256(rules.discovery).hexdigest()[:32],
        discovery_auth=settings.discovery_auth,
        authenticator=world.authenticator,
        use_cases=_use_cases(rules, world),
        feedback=RecordFeedback(world.store, world.clock),
        max_body_bytes=settings.max_body_bytes,
    )
    return application(
        Parts(
            hooks=hooks,
            pages=pages.Pages(
                payer=world.configuration.payer.label,
                guidelines=world.configuration.guidelines,
                view=page,
                hooks_document=DOCUMENTS / "hooks.md",
                today=lambda: world.clock.now().date(),
            ),
            store=world.store,
            ping=world.store.ping,
            clock=world.clock,
            readers=world.readers,
            metrics=world.metrics,
            metrics_token_sha256=settings.metrics_token_sha256,
            metrics_open=not settings.in_production,
            origins=sorted(
                {origin for client in world.clients.values() if client.enabled for origin in client.origins}
            ),
            writer=world.writer,
            request_prefix=secrets.token_hex(6),
            queue_seconds=settings.queue_seconds,
            blueprints=_for_systems(settings, rules, world),
        )
    )


def _for_systems(settings: Settings, rules: Rules, world: Adapters) -> list[Blueprint]:
    """What other systems call with a token of ours, and where they get one."""
    feeding = FeedAuthorizations(world.store, world.configuration.vocabulary, world.clock)
    return [
        oauth.blueprint(world.systems, settings.public_url, FHIR_BASES),
        _documentation(settings, rules, world),
        feed.blueprint(feeding, world.systems, world.public_keys),
        *_prior_authorization(settings, rules, world),
    ]


def _prior_authorization(settings: Settings, rules: Rules, world: Adapters) -> list[Blueprint]:
    """PAS at every version's base; nothing where answers could not be kept for good."""
    parts = prior_auth_parts(settings, rules, world)
    if parts is None:
        return []
    check = SubscriberAddresses(insecure_dev=settings.insecure_dev)
    return [
        pas.blueprint(
            pas.PriorAuthorization(
                door=world.systems,
                submit=SubmitPriorAuth(parts),
                inquire=InquirePriorAuth(parts),
                subscriptions=SubscribeToAnswers(parts, check),
                public_url=settings.public_url,
                max_body_bytes=settings.pas_max_body_bytes,
                monotonic=world.clock.monotonic,
                now=world.clock.now,
                note_exchange=parts.cases.note_exchange,
            )
        ),
        _review(settings, world, parts),
    ]


def _review(settings: Settings, world: Adapters, parts: PriorAuthParts) -> Blueprint:
    """The pages of the payer's reviewers."""
    from cds_service.adapters.sql.store import SqlStore  # noqa: PLC0415 - see open_store
    from cds_service.workplace import review_pages  # noqa: PLC0415

    assert isinstance(world.store, SqlStore)  # or there were no parts
    return review_pages(settings, world.configuration, world.store.database, parts)


def prior_auth_parts(settings: Settings, rules: Rules, world: Adapters) -> PriorAuthParts | None:
    """What requests, inquiries and reviewers' decisions need; None with a store that forgets."""
    from cds_service.adapters.sql.cases import SqlCaseStore  # noqa: PLC0415 - see open_store
    from cds_service.adapters.sql.store import SqlStore  # noqa: PLC0415
    from cds_service.adapters.sql.subscriptions import SqlSubscriptions  # noqa: PLC0415

    if not isinstance(world.store, SqlStore):
        return None
    endpoints = load_endpoints(settings.payer_endpoints_dir, insecure_dev=settings.insecure_dev)
    return PriorAuthParts(
        rules=rules,
        pas=world.configuration.prior_auth,
        cases=SqlCaseStore(world.store.database),
        subscriptions=SqlSubscriptions(world.store.database),
        on_file=world.store.authorizations,
        clock=world.clock,
        new_id=new_id,
        key=world.key,
        remembered=world.store.determination,
        destinations=lambda program: tuple(
            each.id for each in endpoints.values() if each.enabled and (not each.programs or program in each.programs)
        ),
        public_url=settings.public_url,
        max_bytes=settings.pas_max_body_bytes,
        knows_reason=partial(load_licensed_codes(settings.licensed_codes_dir).knows, "x12-886"),
    )


def _documentation(settings: Settings, rules: Rules, world: Adapters) -> Blueprint:
    """DTR at every version's base."""
    forms = prepare_forms(rules, settings.public_url)
    store, clock, key, most = world.store, world.clock, world.key, settings.max_body_bytes
    packages = QuestionnairePackage(
        rules=rules, forms=forms, memory=store, clock=clock, new_id=new_id, key=key, max_bytes=most
    )
    questions = NextQuestion(rules=rules, forms=forms, memory=store, store=store, clock=clock, key=key, max_bytes=most)
    errors = LogFormErrors(forms, store, clock, world.metrics.event, max_bytes=most)
    return dtr.blueprint(
        dtr.Dtr(
            door=world.systems,
            operations={
                "questionnaire-package": ("qpackage", packages),
                "next-question": ("nextq", questions),
                "log-questionnaire-errors": ("errors", errors),
            },
            reads=Terminology(forms),
            read_expand=read_expand,
            capability={
                version: msgspec.json.encode(capability_statement(version, f"{settings.public_url}/dtr/{version}"))
                for version in VERSIONS
            },
            record=RecordCalls(store, clock, _told_of_incidents(world.metrics)),
            max_body_bytes=most,
        )
    )


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wrote, read and checked once, before any worker starts."""

    configuration: Configuration
    clients: Mapping[str, ClientProfile]
    backend_clients: Mapping[str, BackendClient]
    readers: Mapping[str, str]
    key: bytes
    token_key: ECKey


def read_files(settings: Settings) -> Files:
    """Everything in files; raises ConfigurationError with every complaint about the first kind that is wrong."""
    return Files(
        configuration=load_configuration(settings.config_dir),
        clients=load_clients(settings.clients_dir, insecure_dev=settings.insecure_dev),
        backend_clients=load_backend_clients(settings.backend_clients_dir, insecure_dev=settings.insecure_dev),
        readers=load_readers(settings.readers_file),
        key=load_or_make_key(settings.key_file),
        token_key=load_or_make_token_key(settings.token_key_file),
    )


def real_adapters(settings: Settings, files: Files, writer: LineWriter) -> Adapters:
    """What a deployment uses; made in each worker."""
    clock = SystemClock()
    metrics = Metrics(
        [*(client.id for client in files.clients.values()), *files.backend_clients, "unauthenticated"],
        [service.hook for service in SERVICES],
        shared="PROMETHEUS_MULTIPROC_DIR" in os.environ,  # noqa: TID251 - prometheus_client reads it at import, too
    )
    http = GuardedHttp(insecure_dev=settings.insecure_dev)
    keys = KeyRing(GuardedKeyFetch(http, clock), clock, metrics.event)
    store = open_store(settings)
    checked = ClientAuthenticator(files.clients, keys, clock, metrics.event)
    return Adapters(
        configuration=files.configuration,
        clients=files.clients,
        authenticator=checked if settings.client_auth else OpenDoor(),
        store=store,
        systems=BackendTokens(
            files.backend_clients,
            KeyRing(GuardedKeyFetch(http, clock), clock, metrics.event),  # issuers of their own: ids of ours, no URLs
            store,
            files.token_key,
            clock=clock,
            new_id=new_id,
            public_url=settings.public_url,
        ),
        reader=_reader(settings, http, clock, metrics.event),
        clock=clock,
        key=files.key,
        readers=files.readers,
        metrics=metrics,
        writer=writer,
        public_keys=public_keys(files.token_key),
    )


def load_rules(configuration: Configuration, settings: Settings) -> Rules:
    """What the use cases need of the configuration, prepared once."""
    return prepare(
        configuration.guidelines,
        configuration.vocabulary,
        configuration.payer,
        configuration.digest,
        Addresses(
            public_url=settings.public_url,
            smart_app_url=f"{settings.smart_app_url}/launch" if settings.smart_app_url else None,
        ),
    )


def _use_cases(rules: Rules, world: Adapters) -> Mapping[str, cds_services.HookUseCase]:
    order_sign = OrderSign(
        rules=rules,
        reader=world.reader,
        store=world.store,
        clock=world.clock,
        new_id=new_id,
        key=world.key,
        incident=_told_of_incidents(world.metrics),
    )
    return {service.id: order_sign for service in SERVICES}


def _told_of_incidents(metrics: Metrics) -> Callable[[BaseException], None]:
    def incident(error: BaseException) -> None:
        """A failure that the caller did not get to see: counted and logged, or it would stay hidden."""
        metrics.event(f"incident:{type(error).__name__}".lower())
        log.error("incident", exc_info=error)

    return incident


def open_store(settings: Settings) -> DurableStore:
    """The store of the settings; nothing is connected yet."""
    if settings.in_memory:
        return MemoryStore()
    from cds_service.adapters.sql.store import SqlStore  # noqa: PLC0415 - 40 MB that a store in memory need not pay

    return SqlStore(settings.database_url, pool_size=settings.threads)


def evaluate_fetching(settings: Settings, rules: Rules, clock: SystemClock) -> EvaluateFetching:
    """What `evaluate --fetch` does with one request."""
    clients = load_clients(settings.clients_dir, insecure_dev=settings.insecure_dev)
    reader = _reader(settings, GuardedHttp(insecure_dev=settings.insecure_dev), clock, lambda _word: None)
    return EvaluateFetching(rules, reader, clients.values(), clock)


def _reader(settings: Settings, http: GuardedHttp, clock: SystemClock, on_event: Callable[[str], None]) -> FhirReader:
    # At most half of a worker's threads wait for one EHR (decisions 8, fault F14).
    return HttpFhirReader(http, clock, on_event, callers_per_server=max(1, settings.threads // 2))


def client_report(settings: Settings, ident: str) -> Report:
    """What `check-client` says of one registered client; asks its key set and FHIR servers over the network."""
    clock = SystemClock()
    http = GuardedHttp(insecure_dev=settings.insecure_dev)
    profile = _client(settings, ident)
    return check_client(
        profile,
        keys=KeyRing(GuardedKeyFetch(http, clock), clock),
        urls={service.hook: f"{settings.public_url}/cds-services/{service.id}" for service in SERVICES},
        servers=server_states(http, profile, clock.monotonic() + 5),
        seen=_prefetch_seen(settings, profile, clock),
    )


def _prefetch_seen(settings: Settings, profile: ClientProfile, clock: SystemClock) -> PrefetchSeen | None:
    """What the client prefetched in the last week; None where that cannot be known: its set-up is checked anyway."""
    if settings.in_memory:
        return None
    store = open_store(settings)
    try:
        return store.prefetch_seen(profile.id, clock.now() - timedelta(days=7))
    except StoreUnavailable:
        return None


def _client(settings: Settings, ident: str) -> ClientProfile:
    clients = load_clients(settings.clients_dir, insecure_dev=settings.insecure_dev)
    for profile in clients.values():
        if profile.id == ident:
            return profile
    known = ", ".join(sorted(profile.id for profile in clients.values())) or "none"
    raise NotFound(f"no client with this id in {settings.clients_dir}; there are: {known}")
