"""Companion files on disk: their names, whether they are current, and how they are written, linked and deleted."""
