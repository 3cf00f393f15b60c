"""Whether one pattern of names is wholly covered by others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from lightning_compress.weights import matches

States = frozenset[int]
_MOST_STEPS = 30_000  # of one pattern by one character: a tenth of a second
_CACHED = 1 << 12
_ANY_OTHER = "\0"  # stands for every character that no pattern names


def is_covered(pattern: str, by: Sequence[str]) -> bool:
    """Whether every name that ``pattern`` selects is shown to be selected by at least one of ``by``; no name is empty.

    Patterns as in :func:`lightning_compress.weights.matches`: ``*`` is any run of characters, ``?`` any one. Both sides
    are run as automata over all names at once; a name that only ``pattern`` selects would show as a reachable state.
    Patterns can be written that need exponentially many states: after ``_MOST_STEPS`` nothing is shown. What is one
    name, as in the plans of a search, or every name needs no automaton. The answer is kept, because the plans that a
    search tries have the same patterns.
    """
    return _is_covered(pattern, tuple(by))


@lru_cache(_CACHED)
def _is_covered(pattern: str, by: tuple[str, ...]) -> bool:
    if pattern in by:
        return True
    if not set(pattern) & set("*?"):
        return any(matches(other, pattern) for other in by)
    if any(selects_all(other) for other in by):
        return True
    alphabet = {c for text in (pattern, *by) for c in text if c not in "*?"} | {_ANY_OTHER}
    patterns = (pattern, *by)
    start = tuple(_closure(text, [0]) for text in patterns)
    seen: set[tuple[States, ...]] = set()
    open_states = [start]
    most_states = _MOST_STEPS // (len(alphabet) * len(patterns))
    while open_states and len(seen) <= most_states:
        states = open_states.pop()
        for character in alphabet:
            after = tuple(_step(text, state, character) for text, state in zip(patterns, states, strict=True))
            if _accepts(pattern, after[0]) and not any(map(_accepts, by, after[1:])):
                return False
            if after[0] and after not in seen:
                seen.add(after)
                open_states.append(after)
    return not open_states


def selects_all(pattern: str) -> bool:
    """Whether a pattern selects every name that is not empty."""
    return "*" in pattern and not pattern.strip("*?") and pattern.count("?") <= 1


def _closure(pattern: str, positions: Iterable[int]) -> States:
    """The positions, and those behind a ``*`` that matches nothing."""
    result = set()
    for position in positions:
        result.add(position)
        while position < len(pattern) and pattern[position] == "*":
            position += 1
            result.add(position)
    return frozenset(result)


def _step(pattern: str, states: States, character: str) -> States:
    after = []
    for position in states:
        if position < len(pattern):
            if pattern[position] == "*":
                after.append(position)
            elif pattern[position] in ("?", character):
                after.append(position + 1)
    return _closure(pattern, after)


def _accepts(pattern: str, states: States) -> bool:
    return len(pattern) in states
