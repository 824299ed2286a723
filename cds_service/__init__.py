"""The payer's service: CDS Hooks answers computed from a coverage guideline."""

__version__ = "0.1.0"
