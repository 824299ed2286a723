"""The imperative shell: one task of a caller per module; ports come in as arguments."""
