"""Sentences to translate, and what each adds to BLEU and to the divergence of a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.promise.decoding import BOS, EOS, PAD, greedy
from benchmarks.rate_distortion.source import Source
from lightning_compress import bleu_score
from lightning_compress.search import Score

UNK = 3
LIMIT, BATCH = 60, 100  # words of a translation at most; sentences translated together
DIVERGENCES = 200  # items whose divergence is measured
ITEMS = (("valid", 0, 1014),)  # text, first sentence and number
TEST = (("test2016", 0, 1000),)
TEXTS = {parts[0][0]: parts for parts in (ITEMS, TEST)}

Floats = NDArray[np.float64]
Parts = tuple[tuple[str, int, int], ...]


class Sentences:
    """Sentences to translate, in a fixed order.

    Args:
        source: the model.
        text: folder with ``NAME.en`` and ``NAME.de`` of each part, ``train.en`` and ``train.de``.
        parts: name of a text, its first sentence and their number.
    """

    def __init__(self, source: Source, text: Path, parts: Parts) -> None:
        self._yardstick: Any = source.yardstick
        ids = self._yardstick.source_ids
        self.sources = [[ids.get(word, UNK) for word in line.split()] + [EOS] for line in _lines(text, "en", parts)]
        self.references = _lines(text, "de", parts)

    @property
    def combine(self) -> Callable[[Floats], float]:
        """Sums of statistics → BLEU."""
        combine = self.score([[]] * len(self.references)).combine
        assert combine is not None
        return combine

    def score(self, translations: list[list[int]]) -> Score:
        """BLEU with the statistics of each sentence."""
        words = self._yardstick.target_words
        hypotheses = [" ".join(words[k] for k in sentence) for sentence in translations]
        return bleu_score(hypotheses, self.references, tokenize="none")

    def translated_score(self) -> Score:
        """That of the weights that are loaded."""
        return self.score(self.translate())

    @torch.no_grad()
    def translate(self) -> list[list[int]]:
        """Greedy translations by the weights that are loaded."""
        words: list[list[int]] = [[]] * len(self.sources)
        for batch in self._batches(len(self.sources)):
            rows = greedy(self._yardstick.model, _padded([self.sources[k] for k in batch]), LIMIT).tolist()
            for k, row in zip(batch, rows, strict=True):
                words[k] = [word for word in (row[: row.index(EOS)] if EOS in row else row) if word != PAD]
        return words

    def _batches(self, number: int) -> Iterator[list[int]]:
        """The first items in order of length."""
        order = sorted(range(number), key=lambda k: len(self.sources[k]))
        return (order[start : start + BATCH] for start in range(0, number, BATCH))


class Items(Sentences):
    """Sentences with the answers of the exact weights; arguments as for :class:`Sentences`."""

    def __init__(self, source: Source, text: Path, parts: Parts) -> None:
        super().__init__(source, text, parts)
        self._yardstick.model.eval().load_state_dict(source.state)
        self.exact = self.translate()
        self._exact_answers = list(self._answers())

    def measure(self, state: Mapping[str, Tensor]) -> tuple[Score, Floats]:
        """BLEU of other weights, and their divergence from the exact ones on the first items, in nats a word.

        Both models are given the translation of the exact weights.
        """
        self._yardstick.model.eval().load_state_dict({name: tensor.float() for name, tensor in state.items()})
        divergence = np.zeros(DIVERGENCES)
        for (batch, words, exact), (_, _, given) in zip(self._exact_answers, self._answers(), strict=True):
            moved = torch.zeros(words.shape)
            moved[words] = (exact.exp() * (exact - given)).sum(-1)
            divergence[batch] = (moved.double().sum(1) / words.sum(1)).numpy()
        return self.translated_score(), divergence

    @torch.no_grad()
    def _answers(self) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """For each batch its items, which words are no padding, and their log-probabilities by the loaded weights."""
        for batch in self._batches(DIVERGENCES):
            words = _padded([[*self.exact[k], EOS] for k in batch])
            scores = self._yardstick.model(_padded([self.sources[k] for k in batch]), _shifted(words))
            yield batch, words != PAD, scores[words != PAD].log_softmax(-1)


def _lines(text: Path, language: str, parts: Parts) -> list[str]:
    found = []
    for name, first, number in parts:
        lines = (text / f"{name}.{language}").read_text(encoding="utf-8").splitlines()
        found += lines[first : first + number]
    return found


def _padded(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def _shifted(words: Tensor) -> Tensor:
    """The previous word of each word."""
    return torch.nn.functional.pad(words[:, :-1], (1, 0), value=BOS)
