"""Other compression programs, each in its own environment with pinned versions."""
