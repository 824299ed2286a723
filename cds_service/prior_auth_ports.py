"""What prior authorization needs of the outside world: a store of cases, and an outbox. Beside ``ports``."""

from __future__ import annotations
