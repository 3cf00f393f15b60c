"""The adaptive model that is fitted to a stream, and the bytes that describe it; once for all coders that use it."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from lightning_compress.coding.coder import Statistics, Words, read_varint, write_varint
from lightning_compress.coding.models.adaptive import AdaptiveModel, Alphabet, Blocks, Counts, split
from lightning_compress.coding.models.generalized_gaussian import SHAPES
from lightning_compress.coding.models.model_fit import fit
from lightning_compress.errors import FormatError
from lightning_compress.runtime.cached import cached_property

MAX_SYMBOLS = 1 << 12
MAX_GROUPS = 1 << 8
MAX_MODELS = 1 << 18  # symbols in all groups together
_LONGEST_ALONE = 1 << 18


@dataclass(frozen=True, eq=False)
class AdaptiveFit:
    """The model that a stream is coded with; fitted when it is first asked for.

    Attributes:
        groups: the groups of words that are not empty.
        blocks: the counts of the words in them.
    """

    groups: list[Words]
    blocks: Blocks

    @classmethod
    def of(cls, statistics: Statistics) -> AdaptiveFit:
        """The fit of a stream, the same at every call."""
        if statistics not in _fits:
            groups = _split(statistics.words, statistics.groups)
            _fits[statistics] = cls(groups, Blocks.of(groups, statistics.largest + 1))
        return _fits[statistics]

    @property
    def pieces(self) -> list[Words]:
        """The words of each block."""
        return [block for group in self.groups for block in split(group)]

    @cached_property
    def model(self) -> tuple[AdaptiveModel, Counts]:
        """The model, and the scale number of each group."""
        return fit(self.blocks)

    @cached_property
    def header(self) -> bytes:
        """The bytes that describe the model: shape, alphabet, and the scale of each group."""
        model, scales = self.model
        return _header(model) + bytes(scales.tolist())

    @cached_property
    def largest(self) -> Counts:
        """``[groups]``: the largest word of each group."""
        of_blocks = np.where(self.blocks.seen > 0, np.arange(self.blocks.seen.shape[1]), 0).max(axis=1)
        return np.maximum.reduceat(of_blocks, np.flatnonzero(np.diff(self.blocks.group, prepend=-1)))

    @cached_property
    def weights(self) -> Counts:
        """``[blocks, symbols]``: the weights that each block is coded with."""
        return self.blocks.weights(*self.model)


# A fit is kept as long as the statistics of its stream: while the coder of the stream is chosen.
_fits: WeakKeyDictionary[Statistics, AdaptiveFit] = WeakKeyDictionary()


def is_adaptive(statistics: Statistics) -> bool:
    """Whether an adaptive model suits a stream: it has two symbols or more, not too many, and is short or in groups.

    The table of frequencies of a long stream without groups is a small part of its code.
    """
    long = len(statistics.words) > _LONGEST_ALONE and len(statistics.groups) < 2
    groups, symbols = max(len(statistics.groups), 1), statistics.largest + 1
    return not long and 1 < symbols <= MAX_SYMBOLS and groups <= MAX_GROUPS and symbols * groups <= MAX_MODELS


def read_model(data: memoryview, width: int) -> tuple[AdaptiveModel, memoryview]:
    """The model at the start of a code, and the bytes after it.

    Raises:
        FormatError: the bytes describe no model of words of ``width`` bytes.
    """
    if not len(data):
        raise FormatError("a stream of contexts is empty")
    symbols, rest = read_varint(data[1:])
    center, rest = read_varint(rest)
    symbols += 2
    if symbols > min(MAX_SYMBOLS, 1 << (8 * width)) or center > symbols:
        raise FormatError(
            f"a stream of contexts has {symbols} symbols and center {center}, expected at most {MAX_SYMBOLS} of "
            f"{8 * width} bits, and a center up to their number"
        )
    alphabet = Alphabet(symbols, center - 1 if center else None)
    return AdaptiveModel(alphabet, (data[0] & 7) + SHAPES.start, 2 * (data[0] >> 4), bool(data[0] & 8)), rest


def read_groups(
    data: memoryview, count: int, width: int, groups: tuple[int, ...]
) -> tuple[AdaptiveModel, Counts, list[int], memoryview]:
    """The model, the weights ``[groups, symbols]`` that groups begin with, their lengths, and the bytes after these.

    Raises:
        FormatError: the bytes describe no models of such groups.
    """
    if len(groups) > MAX_GROUPS or (groups and (sum(groups) != count or min(groups) < 0)):
        raise FormatError(f"{len(groups)} groups of {sum(groups)} words, expected at most {MAX_GROUPS} of {count}")
    lengths = [length for length in groups or (count,) if length]
    model, body = read_model(data, width)
    if len(body) < len(lengths):
        raise FormatError(f"a stream of {len(lengths)} groups has {len(body)} bytes for their scales and its code")
    if model.alphabet.symbols * len(lengths) > MAX_MODELS:
        raise FormatError(
            f"{len(lengths)} groups of {model.alphabet.symbols} symbols, expected at most {MAX_MODELS} in all"
        )
    starts = model.starts(np.frombuffer(body[: len(lengths)], np.uint8).astype(np.int64))
    return model, starts, lengths, body[len(lengths) :]


def _split(words: Words, groups: tuple[int, ...]) -> list[Words]:
    """The groups that are not empty."""
    return [group for group in np.split(words, np.cumsum(groups)[:-1]) if len(group)] if groups else [words]


def _header(model: AdaptiveModel) -> bytes:
    """Shape, pooling and height in one byte; symbols; center."""
    first = model.shape - SHAPES.start | model.pooled << 3 | model.height // 2 << 4
    center = 0 if model.alphabet.center is None else model.alphabet.center + 1
    return bytes([first]) + write_varint(model.alphabet.symbols - 2) + write_varint(center)
