"""Codecs between FHIR and the domain.

Pure: no network, no clock, no framework.
"""
