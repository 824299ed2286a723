"""The payer's guideline as values, and the walk over it.

Pure: knows kinds of tests, never a guideline's numbers, which live in ``config/``.
No FHIR element names, no clock, no I/O.
"""
