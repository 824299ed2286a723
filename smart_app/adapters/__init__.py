"""The outside: EHRs and payers over HTTP, the database, keys, the operator's files."""
