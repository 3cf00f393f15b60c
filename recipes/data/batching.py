"""Batches of sentence pairs of similar length, as large as a number of tokens allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from recipes.data.vocabulary import BOS, EOS, PAD


class Batch(NamedTuple):
    """Padded word ids of some sentence pairs, and the references as text.

    Shape legend: ``b`` pairs, ``s`` longest source, ``t`` longest target, each with its ``EOS`` or ``BOS``.

    Attributes:
        source: ``[b, s]``, ends with ``EOS``.
        previous: ``[b, t]``, begins with ``BOS``: input of the decoder.
        target: ``[b, t]``, ends with ``EOS``: expected output of the decoder.
        references: the translations as written, words apart by one space; empty where they are not needed.
    """

    source: Tensor
    previous: Tensor
    target: Tensor
    references: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Number of target words, ``EOS`` counted."""
        return int((self.target != PAD).sum())


def pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of ids → ``[rows, longest]``, filled up with ``PAD``."""
    out = torch.full((len(rows), max(map(len, rows))), PAD, dtype=torch.long)
    for k, row in enumerate(rows):
        out[k, : len(row)] = torch.tensor(row, dtype=torch.long)
    return out


class PairDataset(Dataset[Batch]):
    """Sentence pairs as word ids; indexed by a list of pair numbers, it gives their :class:`Batch`.

    Args:
        sources: ids of each source sentence, without specials.
        targets: ids of each target sentence, without specials.
        references: the target sentences as text, or nothing where only the loss is wanted.
    """

    def __init__(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        references: Sequence[str] = (),
    ) -> None:
        self.sources, self.targets, self.references = sources, targets, references

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        sources = [self.sources[k] for k in rows]
        targets = [self.targets[k] for k in rows]
        return Batch(
            source=pad([[*row, EOS] for row in sources]),
            previous=pad([[BOS, *row] for row in targets]),
            target=pad([[*row, EOS] for row in targets]),
            references=tuple(self.references[k] for k in rows) if self.references else (),
        )

    def lengths(self) -> list[tuple[int, int]]:
        """Length of each pair, (target, source), ``EOS`` counted."""
        return [(len(t) + 1, len(s) + 1) for s, t in zip(self.sources, self.targets, strict=True)]


class TokenBatches(Sampler[list[int]]):
    """Lists of pair numbers: neighbours in length, ``tokens`` padded words at most on either side.

    Each epoch puts pairs of equal length into another order, cuts the sorted row into batches, and shuffles
    these. As only pairs of equal lengths change places, every epoch has the same number of batches. A pair
    longer than ``tokens`` is a batch of its own.

    Args:
        lengths: (target, source) length of each pair.
        tokens: upper limit of pairs × longest sentence.
        pairs: upper limit of pairs; ``None``: only ``tokens`` counts.
        shuffle: whether to shuffle; if not, batches go from short to long in a fixed order.
        seed: with the epoch, decides the order.
    """

    def __init__(
        self,
        lengths: Sequence[tuple[int, int]],
        tokens: int,
        *,
        pairs: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.lengths, self.tokens, self.shuffle, self.seed = lengths, tokens, shuffle, seed
        self.pairs = len(lengths) if pairs is None else pairs
        self.epoch = 0
        self.count = len(self.batches())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; Lightning calls this."""
        self.epoch = epoch

    def batches(self) -> list[list[int]]:
        """The batches of the present epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order: list[int] = list(range(len(self.lengths)))
        if self.shuffle:
            order = torch.randperm(len(order), generator=generator).tolist()
        order.sort(key=lambda k: self.lengths[k])
        batches: list[list[int]] = []
        longest = 0
        for k in order:
            longest = max(longest, *self.lengths[k])
            count = len(batches[-1]) + 1 if batches else 0
            if not batches or count * longest > self.tokens or count > self.pairs:
                batches.append([])
                longest = max(self.lengths[k])
            batches[-1].append(k)
        if self.shuffle:
            batches = [batches[k] for k in torch.randperm(len(batches), generator=generator).tolist()]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches())

    def __len__(self) -> int:
        return self.count
