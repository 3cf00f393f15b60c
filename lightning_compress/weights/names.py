"""Tensor names: the wrappers that training adds to them, and the patterns that select them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})


@lru_cache(maxsize=65536)
def strip_wrappers(name: str) -> str:
    """Remove the prefixes that ``torch.compile``, FSDP, activation checkpointing and DDP add to a tensor's name.

    >>> strip_wrappers("model._orig_mod.encoder.weight")
    'model.encoder.weight'
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches a name, with or without its wrapper prefixes.

    ``*`` matches any run of characters, dots included; ``?`` matches one character; matching is case-sensitive.
    """
    expression = _compiled(pattern)
    return bool(expression.fullmatch(name) or expression.fullmatch(strip_wrappers(name)))


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether at least one of the patterns matches the name."""
    return any(matches(pattern, name) for pattern in patterns)
