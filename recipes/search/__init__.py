"""Search for the best translation, shared by every network."""
