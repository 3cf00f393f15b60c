"""Sentences to translate, and what each adds to BLEU and to the divergence of a candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

Floats = NDArray[np.float64]


class Items:
    """The scored items of a model, in a fixed order.

    Args:
        source: the model.
        text: folder with ``valid.en``, ``valid.de``, ``train.en`` and ``train.de``.
    """

    def __init__(self, source: Source, text: Path) -> None:
        self._yardstick: Any = source.yardstick
        ids = self._yardstick.source_ids
        self.sources = [[ids.get(word, UNK) for word in line.split()] + [EOS] for line in _lines(text, "en")]
        self.references = _lines(text, "de")
        self._yardstick.model.eval().load_state_dict(source.state)
        self.exact = self._translate()
        self._exact_answers = list(self._answers())

    def score(self, translations: list[list[int]]) -> Score:
        """BLEU with the statistics of each item."""
        words = self._yardstick.target_words
        hypotheses = [" ".join(words[k] for k in sentence) for sentence in translations]
        return bleu_score(hypotheses, self.references, tokenize="none")

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
        return self.score(self._translate()), divergence

    @torch.no_grad()
    def _translate(self) -> list[list[int]]:
        """Greedy translations by the weights that are loaded."""
        words: list[list[int]] = [[]] * len(self.sources)
        for batch in self._batches(len(self.sources)):
            rows = greedy(self._yardstick.model, _padded([self.sources[k] for k in batch]), LIMIT).tolist()
            for k, row in zip(batch, rows, strict=True):
                words[k] = [word for word in (row[: row.index(EOS)] if EOS in row else row) if word != PAD]
        return words

    @torch.no_grad()
    def _answers(self) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """For each batch its items, which words are no padding, and their log-probabilities by the loaded weights."""
        for batch in self._batches(DIVERGENCES):
            words = _padded([[*self.exact[k], EOS] for k in batch])
            scores = self._yardstick.model(_padded([self.sources[k] for k in batch]), _shifted(words))
            yield batch, words != PAD, scores[words != PAD].log_softmax(-1)

    def _batches(self, number: int) -> Iterator[list[int]]:
        """The first items in order of length."""
        order = sorted(range(number), key=lambda k: len(self.sources[k]))
        return (order[start : start + BATCH] for start in range(0, number, BATCH))


def _lines(text: Path, language: str) -> list[str]:
    found = []
    for name, first, number in ITEMS:
        lines = (text / f"{name}.{language}").read_text(encoding="utf-8").splitlines()
        found += lines[first : first + number]
    return found


def _padded(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def _shifted(words: Tensor) -> Tensor:
    """The previous word of each word."""
    return torch.nn.functional.pad(words[:, :-1], (1, 0), value=BOS)
