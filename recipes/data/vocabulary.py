"""Word vocabulary: the most frequent words of a text, all others UNK (the paper's setting; no subwords)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from recipes.errors import VocabularyError

PAD, BOS, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


class Vocabulary:
    """Words and their ids; ids 0 … 3 are ``PAD``, ``BOS``, ``EOS`` and ``UNK``.

    Args:
        words: the words after the four specials, in the order of their ids.

    Raises:
        VocabularyError: if a word stands twice, is a special, is empty, or holds white space.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words: tuple[str, ...] = (*SPECIALS, *words)
        self.ids = {word: k for k, word in enumerate(self.words)}
        if len(self.ids) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise VocabularyError(
                f"the word {twice!r} stands twice: a vocabulary lists each word once, without specials"
            )
        for word in words:
            if word.split() != [word]:
                raise VocabularyError(f"{word!r} is no word: expected text without white space")

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

        Words that occur equally often are ordered by their text, so equal text gives equal ids. The text of a
        special (such as ``<unk>`` in text that was prepared before) is not counted as a word.

        Raises:
            VocabularyError: if ``max_words`` or ``min_count`` is below 1, or no word is left.
        """
        if max_words < 1 or min_count < 1:
            raise VocabularyError(f"max_words is {max_words} and min_count {min_count}: expected 1 or more of both")
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = sorted((-count, word) for word, count in counts.items() if count >= min_count and word not in SPECIALS)
        if not kept:
            raise VocabularyError(f"no word occurs {min_count} times or more: lower min_count or give more text")
        return cls([word for _, word in kept[:max_words]])

    def encode(self, sentence: Iterable[str]) -> list[int]:
        """Ids of the words, ``UNK`` for those not in the vocabulary; neither ``BOS`` nor ``EOS`` is added."""
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
    def from_bytes(cls, data: bytes) -> Vocabulary:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            VocabularyError: if the bytes are not UTF-8 text of one word a line.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise VocabularyError(
                f"the vocabulary is not UTF-8 (byte {error.start}): expected one word a line"
            ) from error
        if not text.endswith("\n"):
            raise VocabularyError("the vocabulary ends without a line feed: it is empty or was cut off")
        return cls(text[:-1].split("\n"))
