"""The words in which two sentences differ."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import NamedTuple


class Run(NamedTuple):
    """Words that stand next to each other, and whether the other sentence has others in their place."""

    text: str
    differs: bool


def marked(sentence: str, other: str) -> list[Run]:
    """A sentence in runs of words that are also in the other sentence, in the same order, and of words that are not.

    >>> marked("a small red dog", "a red cat")
    [Run(text='a', differs=False), Run(text='small', differs=True), Run(text='red', differs=False), \
Run(text='dog', differs=True)]
    """
    words = sentence.split()
    matcher = SequenceMatcher(None, words, other.split(), autojunk=False)
    return [
        Run(" ".join(words[start:end]), operation != "equal")
        for operation, start, end, _, _ in matcher.get_opcodes()
        if start < end
    ]
