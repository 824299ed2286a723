"""Da Vinci PAS in and out: the structural gate, reading requests and inquiries, building responses (2.0.1, 2.2.1)."""
