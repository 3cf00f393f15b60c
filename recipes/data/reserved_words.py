"""Words of a text that read like the reserved words of a vocabulary, such as ``<s>``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightning_utilities.core.rank_zero import rank_zero_only

from recipes.data.vocabulary import RESERVED

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReservedWords:
    """The reserved words found in a text.

    Attributes:
        word: the first of them.
        line: its line, from 1.
        count: how many there are in the whole text.
    """

    word: str
    line: int
    count: int


def find_reserved_words(sentences: Iterable[Sequence[str]]) -> ReservedWords | None:
    """The reserved words among the words of each line; None if there are none."""
    found: ReservedWords | None = None
    for line, words in enumerate(sentences, start=1):
        if RESERVED.isdisjoint(words):
            continue
        reserved = [word for word in words if word in RESERVED]
        found = ReservedWords(
            found.word if found else reserved[0],
            found.line if found else line,
            len(reserved) + (found.count if found else 0),
        )
    return found


@rank_zero_only
def warn_of_reserved_words(sentences: Iterable[Sequence[str]], origin: str) -> None:
    """Log one warning if a text holds reserved words; ``origin`` names the text."""
    found = find_reserved_words(sentences)
    if found is not None:
        _log.warning(
            "%s, line %d: %s is a reserved word of the vocabulary; the network reads all reserved words of this text "
            "(%s) as the unknown word",
            origin,
            found.line,
            found.word,
            f"{found.count:,}",
        )
