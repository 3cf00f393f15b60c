"""Word vocabulary: the most frequent words of a text, all others UNK (the paper's setting; no subwords).

Text is data: a word that reads like a reserved word (``<pad>``, ``<s>``, ``</s>``, ``<unk>``) is ``UNK``, and never a
control id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recipes.data.text_files import decode
from recipes.errors import TextError, VocabularyError

PAD, BOS, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
RESERVED = frozenset(SPECIALS)


class Vocabulary:
    """Words and their ids; ids 0 … 3 are ``PAD``, ``BOS``, ``EOS`` and ``UNK``.

    Args:
        words: the words after the four specials, in the order of their ids.

    Attributes:
        words: every word in the order of the ids, the specials first.
        ids: ids of the words of text, so of all words but the specials.

    Raises:
        VocabularyError: if there is no word, or a word stands twice, is a special, is empty, or holds white space.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if problem := find_problem(words):
            raise VocabularyError(f"word {problem.number} of the vocabulary: {problem.reason}")
        self.words: tuple[str, ...] = (*SPECIALS, *words)
        self.ids = {word: k for k, word in enumerate(words, start=len(SPECIALS))}

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.words == self.words

    def __hash__(self) -> int:
        return hash(self.words)

    @classmethod
    def from_sentences(
        cls, sentences: Iterable[Sequence[str]], *, max_words: int = 30_000, min_count: int = 1
    ) -> Vocabulary:
        """The ``max_words`` most frequent words that occur ``min_count`` times or more.

        Words that occur equally often are ordered by their text, so equal text gives equal ids. Reserved words in
        the text are not counted.

        Raises:
            VocabularyError: if ``max_words`` or ``min_count`` is below 1, or no word is left.
        """
        if max_words < 1 or min_count < 1:
            raise VocabularyError(f"max_words is {max_words} and min_count {min_count}: expected 1 or more of both")
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = sorted((-count, word) for word, count in counts.items() if count >= min_count and word not in RESERVED)
        if not kept:
            raise VocabularyError(f"no word occurs {min_count} times or more: lower min_count or give more text")
        return cls([word for _, word in kept[:max_words]])

    def encode(self, sentence: Iterable[str]) -> list[int]:
        """Ids of the words, ``UNK`` for those not in the vocabulary and for reserved words.

        No control id is among them, and neither ``BOS`` nor ``EOS`` is added.
        """
        return [self.ids.get(word, UNK) for word in sentence]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words up to the first ``EOS``, without ``PAD`` and ``BOS``."""
        words = []
        for k in ids:
            if k == EOS:
                break
            if k not in (PAD, BOS):
                words.append(self.words[k])
        return words

    def to_bytes(self) -> bytes:
        """UTF-8 text, one word a line, specials left out."""
        return "".join(f"{word}\n" for word in self.words[len(SPECIALS) :]).encode("utf-8")

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "the vocabulary") -> Vocabulary:
        """Read what :meth:`to_bytes` wrote, each word exactly; ``origin`` names the file in errors.

        Raises:
            VocabularyError: if the bytes are not UTF-8 text of one word a line, or a line is no word, a word for the
                second time, or a reserved word.
        """
        try:
            text = decode(data, origin)
        except TextError as error:
            raise VocabularyError(str(error)) from error
        if not text.endswith("\n"):
            raise VocabularyError(f"{origin} ends without a line feed: it is empty or was cut off")
        words = text[:-1].split("\n")
        if problem := find_problem(words):
            raise VocabularyError(f"{origin}, line {problem.number}: {problem.reason}")
        return cls(words)


class Problem(NamedTuple):
    """What is wrong with the words of a vocabulary: the number of the word, from 1, and the reason."""

    number: int
    reason: str


def find_problem(words: Sequence[str]) -> Problem | None:
    """The first word that a vocabulary cannot hold; None if there is none."""
    if not words:
        return Problem(1, "there is none, expected one word or more")
    seen: dict[str, int] = {}
    for number, word in enumerate(words, start=1):
        if word.split() != [word]:
            return Problem(number, f"{word!r} is no word: expected text without white space")
        if word in RESERVED:
            return Problem(number, f"{word!r} is a reserved word: expected words of text only")
        if word in seen:
            return Problem(number, f"{word!r} stands twice, first as word {seen[word]}: expected each word once")
        seen[word] = number
    return None
