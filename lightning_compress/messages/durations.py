"""Durations in words."""

from __future__ import annotations


def in_minutes(seconds: float) -> str:
    """Such as ``3 minutes``."""
    minutes = round(seconds / 60)
    return "a minute" if minutes <= 1 else f"{minutes} minutes"
