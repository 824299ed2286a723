"""Values and arithmetic of the trade.

Pure: no FHIR element names, no JSON, no guideline numbers, no clock, no I/O.
Everything here is a frozen value or a function from values to values.
"""
