"""A small electronic health record: the provider's side, for demonstration and tests.

It knows nothing of the payer's inside: every exchange goes through CDS Hooks and FHIR, as with any EHR.
All people in it are made up.
"""
