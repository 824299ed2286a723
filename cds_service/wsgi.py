"""The application for any WSGI server: `gunicorn cds_service.wsgi:application`. `cds-service serve` needs it not."""

from __future__ import annotations

from cds_service.app import create_app, read_files, real_adapters
from cds_service.settings import from_env
from cds_service.web.log_lines import LineWriter

settings = from_env()
application = create_app(settings, real_adapters(settings, read_files(settings), LineWriter()))
