"""The conversation with a payer about documentation (DTR 2.0.1, 2.1, 2.2), as values: no web, no calls."""
