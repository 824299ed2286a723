"""Where prior authorization is put together for one process."""

from __future__ import annotations

from flask import Flask

from smart_app.adapters.submissions import Submissions
from smart_app.prior_auth.conversation import PriorAuth
from smart_app.web import notifications, prior_auth_pages
from smart_app.web.parts import Parts


def install(app: Flask, made: Parts) -> None:
    """Give ``app`` its pages of prior authorization; ``forms_setup`` has been called before."""
    app.extensions["prior_auth"] = PriorAuth(
        registry=made.registry,
        payers=app.extensions["payer_client"],
        submissions=Submissions(made.store.engine, made.keys.sealer, made.world.now),
        now=made.world.now,
        new_id=made.world.new_id,
        new_secret=made.world.new_secret,
        public_url=made.settings.public_url,
    )
    app.register_blueprint(prior_auth_pages.blueprint)
    app.register_blueprint(notifications.blueprint)
