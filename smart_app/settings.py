"""Settings of one deployment of the app. The only reader of its environment."""

from __future__ import annotations
