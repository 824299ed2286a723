"""DTR at the payer: one module for each operation. They share what ``forms`` prepared at load."""
