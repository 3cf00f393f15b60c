"""Parts of log keys that are made of names: of classes, of groups of weights, of strengths."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 120  # characters; MLflow allows 250 in a key of several parts


def key_parts(names: Iterable[str]) -> dict[str, str]:
    """Name → its part of a log key; different names have different parts.

    Every run of characters other than letters, digits, dot, minus, slash and underscore becomes one underscore, because
    loggers refuse them: ``prune 20 %`` is ``prune_20``. If two names would have the same part, the later one gets a
    number: ``a b`` and ``a_b`` are ``a_b`` and ``a_b_2``.
    """
    parts: dict[str, str] = {}
    used: set[str] = set()
    for name in dict.fromkeys(names):
        first = part = _part(name)
        number = 2
        while part in used:
            part, number = f"{first}_{number}", number + 1
        used.add(part)
        parts[name] = part
    return parts


def _part(name: str) -> str:
    """The part of a log key for a name alone; see :func:`key_parts`."""
    text = re.sub(r"[^\w.\-/]+", "_", name).strip("_/")
    steps = (step for step in text[:_LONGEST].split("/") if step.strip("."))  # no empty, "." or ".." in a path
    return "/".join(steps) or "_"
