"""Cut a line of text into words: by white space, or (Chinese) into jieba's words or single characters.

No word holds white space, by Unicode's definition: space, tab, no-break space, ideographic space, lone carriage return,
U+0085, U+2028 and their like separate words. Characters of no width, such as U+200B and U+FEFF, belong to words.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Literal

from recipes.errors import SegmentationError

Segmentation = Literal["spaces", "characters", "jieba", "sentencepiece"]
PIECES: Segmentation = "sentencepiece"  # needs a model of the language: see recipes.data.pieces

# A run of letters or digits of an alphabet stays whole; every other visible character stands alone.
_ALPHABETIC_RUN = re.compile(r"[0-9A-Za-z\u00C0-\u024F\u0370-\u052F]+|\S")


def by_spaces(line: str) -> list[str]:
    """``"ein mann ."`` → ``["ein", "mann", "."]``: any Unicode white space separates words."""
    return line.split()


def by_characters(line: str) -> list[str]:
    """Each Chinese character is a word; runs of Latin, Greek or Cyrillic letters and of digits stay whole."""
    return _ALPHABETIC_RUN.findall(line)


def by_jieba(line: str) -> list[str]:
    """Chinese words as the jieba library finds them.

    Raises:
        SegmentationError: if jieba is not installed.
    """
    try:
        import jieba
    except ImportError as error:
        raise SegmentationError(
            "segmentation 'jieba' needs the jieba library: pip install 'lightning-compress[recipes]', "
            "or choose 'characters'"
        ) from error
    jieba.setLogLevel(logging.WARNING)
    return [word for piece in jieba.lcut(line) for word in piece.split()]


_SEGMENTATIONS: dict[str, Callable[[str], list[str]]] = {
    "spaces": by_spaces,
    "characters": by_characters,
    "jieba": by_jieba,
}


def segmenter(name: str) -> Callable[[str], list[str]]:
    """The function, line → words, of this name.

    Raises:
        SegmentationError: if no segmentation has this name.
    """
    if name not in _SEGMENTATIONS:
        known = ", ".join((*_SEGMENTATIONS, PIECES))
        raise SegmentationError(f"segmentation {name!r} is unknown: expected one of {known}")
    return _SEGMENTATIONS[name]
