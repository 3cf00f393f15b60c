"""Checks of the settings that a user gives to a recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recipes.errors import SettingsError


def check_least(least: float, **values: float) -> None:
    """Raise :class:`SettingsError` for the first value below ``least``; NaN and infinity are refused too."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise SettingsError(f"{name} is {value}: expected {least:g} or more")


def check_sizes(**sizes: int) -> None:
    """Raise :class:`SettingsError` for the first size below 1."""
    check_least(1, **sizes)


def check_finite(**values: float) -> None:
    """Raise :class:`SettingsError` for the first value that is NaN or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise SettingsError(f"{name} is {value}: expected a finite number")


def check_shares(**shares: float) -> None:
    """Raise :class:`SettingsError` for the first share outside 0 … 1 (1 itself excluded)."""
    for name, share in shares.items():
        if not 0.0 <= share < 1.0:
            raise SettingsError(f"{name} is {share}: expected a share from 0 up to, but not including, 1")


def check_name(setting: str, name: str, known: Sequence[str]) -> None:
    """Raise :class:`SettingsError` if ``name`` is none of ``known``."""
    if name not in known:
        raise SettingsError(f"{setting} is {name!r}: expected {' or '.join(map(repr, known))}")
