"""Callbacks of compression that training takes part in."""
