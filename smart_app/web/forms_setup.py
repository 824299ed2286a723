"""Where the forms are put together for one process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flask import Flask
from joserfc import jws

from cds_service.adapters.policy_files import load_vocabulary
from cds_service.domain.vocabulary import Vocabulary
from smart_app.adapters.keys import SigningKeys
from smart_app.adapters.payer_client import PayerClient
from smart_app.forms.adaptive_form import AdaptiveForms
from smart_app.forms.coverage_form import CoverageForms
from smart_app.forms.parts import FormParts, SeenPackages
from smart_app.forms.saving import FormSaving
from smart_app.registry import PayerProfile
from smart_app.smart.assertion import client_assertion
from smart_app.web import form_pages, form_side_pages, form_view, refill_pages, supported_payers
from smart_app.web.form_desk import FormDesk
from smart_app.web.parts import Parts

_ALGORITHM = "ES384"  # where a payer's file names none


def install(app: Flask, made: Parts) -> None:
    """Give ``app`` its form pages. Raises ConfigurationError where the terminology cannot be used."""
    payers = PayerClient(made.outbound, lambda payer, endpoint: _assertion(made, payer, endpoint))
    form_parts = FormParts(
        registry=made.registry,
        store=made.store,
        payers=payers,
        vocabulary=_vocabulary(made.settings.terminology_dir),
        now=made.world.now,
        new_id=made.world.new_id,
        sign=lambda payload: detached(made.keys.signing, payload),
        seen=SeenPackages(),
    )
    forms = CoverageForms(form_parts)
    saving = FormSaving(form_parts, forms)
    app.extensions["app_store"] = made.store
    app.extensions["payer_client"] = payers
    app.extensions["forms"] = FormDesk(form_parts, forms, saving, AdaptiveForms(form_parts, forms, saving))
    app.register_blueprint(form_pages.blueprint)
    app.register_blueprint(form_side_pages.blueprint)
    app.register_blueprint(supported_payers.blueprint)
    app.register_blueprint(refill_pages.blueprint)
    form_view.add_filters(app)


@lru_cache
def _vocabulary(directory: Path) -> Vocabulary:
    """Read once for each process: it does not change while it runs."""
    return load_vocabulary(directory)


def detached(keys: SigningKeys, payload: bytes) -> str:
    """A compact JWS over ``payload`` without the payload: who checks it has the response at hand."""
    key = keys.newest(_ALGORITHM)
    header = {"alg": _ALGORITHM, "kid": key.kid}
    compact: str = jws.serialize_compact(header, payload, key, algorithms=[_ALGORITHM])
    head, _, signature = compact.split(".")
    return f"{head}..{signature}"


def _assertion(made: Parts, payer: PayerProfile, endpoint: str) -> str:
    return client_assertion(
        made.keys.signing,
        client_id=payer.client_id,
        audience=endpoint,
        algorithm=payer.signing_alg or _ALGORITHM,
        now=made.world.now(),
        new_secret=made.world.new_secret,
        jwks_url=made.settings.jwks_url,
    )
