"""Codecs between CDS Hooks JSON and values.

Pure: no network, no clock, no framework.
"""
