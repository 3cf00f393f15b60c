"""The words in which two sentences differ."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import NamedTuple


class WordRun(NamedTuple):
    """Consecutive words, and whether they differ from the words of the other sentence at this place."""

    text: str
    differs: bool


def word_runs(sentence: str, other: str) -> list[WordRun]:
    """The words of a sentence, grouped into runs that an alignment with the other sentence matches or does not match.

    >>> word_runs("a small red dog", "a red cat")
    [WordRun(text='a', differs=False), WordRun(text='small', differs=True), WordRun(text='red', differs=False), \
WordRun(text='dog', differs=True)]
    """
    words = sentence.split()
    matcher = SequenceMatcher(None, words, other.split(), autojunk=False)
    return [
        WordRun(" ".join(words[start:end]), operation != "equal")
        for operation, start, end, _, _ in matcher.get_opcodes()
        if start < end
    ]
