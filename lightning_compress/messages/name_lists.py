"""Lists of names in messages: never longer than a reader takes in."""

from __future__ import annotations

from collections.abc import Sequence


def first_names(names: Sequence[str], most: int = 5, separator: str = ", ", *, total: int | None = None) -> str:
    """The first of the names, and how many more there are.

    Args:
        names: all of them, or with ``total`` at least the first ``most``.
        most: the number of names shown.
        separator: between two names.
        total: the number of all names.

    >>> first_names(["a", "b"])
    'a, b'
    >>> first_names(list("abcdefgh"), most=3)
    'a, b, c, and 5 more'
    """
    shown = separator.join(names[:most])
    more = (len(names) if total is None else total) - most
    return f"{shown}{separator}and {more} more" if more > 0 else shown
