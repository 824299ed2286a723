"""What gunicorn's workers import, after the fork: the application of this process."""

from __future__ import annotations

from cds_service.app import create_app
from cds_service.settings import from_env
from cds_service.web.gunicorn_server import log_writer

application = create_app(from_env(), writer=log_writer)
