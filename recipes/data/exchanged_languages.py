"""Notices text of the other language: most words unknown where they are expected, and known on the other side."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from recipes.data.vocabulary import Vocabulary

_log = logging.getLogger(__name__)
_MOST = 0.5  # of the words: unknown where they are expected
_FEW = 0.5  # of that share: unknown on the other side


def unknown_share(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary) -> float:
    """Share of the words that the vocabulary does not have, 0 to 1; 0 without words."""
    words = [word for sentence in sentences for word in sentence]
    return sum(word not in vocabulary.ids for word in words) / len(words) if words else 0.0


def warn_if_exchanged(
    sentences: Sequence[Sequence[str]], expected: Vocabulary, other: Vocabulary, origin: str, side: str
) -> None:
    """Log a warning if a text seems to be in the other language.

    Args:
        sentences: the words of each line.
        expected: vocabulary of the side that the text is used for.
        other: vocabulary of the other side.
        origin: name of the text.
        side: "source" or "target".
    """
    unknown = unknown_share(sentences, expected)
    elsewhere = unknown_share(sentences, other) if unknown > _MOST else 1.0
    if elsewhere < _FEW * unknown:
        _log.warning(
            "%s: %.0f %% of the words are unknown as %s words, and %.0f %% on the other side: are source and target "
            "exchanged?",
            origin,
            100 * unknown,
            side,
            100 * elsewhere,
        )
