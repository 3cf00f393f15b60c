"""Other programs, each in an environment of its own with pinned versions."""
