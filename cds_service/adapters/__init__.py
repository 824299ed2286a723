"""Everything that can fail because of the outside world; each module implements one port."""
