"""Names that a file stores are data: any text is allowed that a reader of the file gets back unchanged."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_compress.errors import WeightsError

_LONGEST = 65_535  # bytes; a reader takes a manifest of longer, repetitive names for an attack


def check_stored_names(what: str, names: Iterable[object], *, distinct: bool = False) -> None:
    """Refuse names that a file cannot hold.

    Args:
        what: what the names belong to, such as ``tensor``.
        names: the names.
        distinct: whether no name may stand twice.

    Raises:
        WeightsError: a name is not text, not UTF-8 (half of a surrogate pair), too long, or stands twice.
    """
    known: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise WeightsError(f"the name of a {what} is {name!r:.80}, expected text: rename it")
        try:
            nbytes = len(name.encode())
        except UnicodeEncodeError as error:
            raise WeightsError(f"the {what} name {name!r:.80} cannot be written in UTF-8: rename it") from error
        if nbytes > _LONGEST:
            raise WeightsError(f"the {what} name {name!r:.80}… has {nbytes} bytes, expected at most {_LONGEST}")
        if distinct and name in known:
            raise WeightsError(f"the {what} name {name!r:.80} stands twice: rename one of the two")
        known.add(name)
