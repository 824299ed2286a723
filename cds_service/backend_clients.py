"""What the operator has settled with one system that calls DTR and PAS (one file each, SMART Backend Services)."""

from __future__ import annotations
