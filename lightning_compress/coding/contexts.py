"""One ANS code for consecutive groups of words, each of which has its own adaptive model.

The prior is a generalized Gaussian, given by one byte for each group and two for all; after 64 words, 128, 256, … the
counts so far are added to it. No frequency table is stored: for groups of a few thousand words, a table costs as much
as it saves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding import stack
from lightning_compress.coding.adaptive import CHUNK, AdaptiveModel, Alphabet, Blocks, Counts, fit, split
from lightning_compress.coding.coder import Statistics, Words, dtype_of, read_varint, write_varint
from lightning_compress.coding.generalized_gaussian import SHAPES
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work
from lightning_compress.runtime.cached import cached_property

_MAX_SYMBOLS = 1 << 12
_MAX_GROUPS = 1 << 8
_MAX_MODELS = 1 << 18  # symbols in all groups together
_LONGEST_ALONE = 1 << 18
_BLOCK = 64  # words of the shortest block
_MODEL = 48  # bytes, and operations, of one symbol in one model
_TAIL = 64
_FREE = 5  # words at the end that may cost nothing, if one of the last four is larger than the word before it
_EFFICIENCY = 1 - 1 / 1800  # information per bit of code, at least; see _least_bytes


@dataclass(frozen=True, eq=False)
class _Fit:
    """The model that a stream is coded with; fitted when it is first asked for.

    Attributes:
        pieces: the blocks of words.
        blocks: the counts of the words in them.
    """

    pieces: list[Words]
    blocks: Blocks

    @classmethod
    def of(cls, statistics: Statistics) -> _Fit:
        """Split a stream, and count its words."""
        groups = _split(statistics.words, statistics.groups)
        return cls([block for group in groups for block in split(group)], Blocks.of(groups, statistics.largest + 1))

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
    def weights(self) -> Counts:
        """``[blocks, symbols]``: the weights that each block is coded with."""
        return self.blocks.weights(*self.model)


class Contexts:
    """Alphabet, prior, and the scale of each group; then the 32-bit words of a range ANS coder."""

    id: ClassVar[str] = "contexts"

    def __init__(self) -> None:
        # A fit is kept as long as the statistics of its stream: while the coder of the stream is chosen.
        self._fits: WeakKeyDictionary[Statistics, _Fit] = WeakKeyDictionary()

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The entropies of the blocks, less what the end of the stream and rounding may save; None for other streams.

        Long streams of one group are left to ``ans``, whose table is a small part of their code.
        """
        long = len(statistics.words) > _LONGEST_ALONE and len(statistics.groups) < 2
        groups, symbols = max(len(statistics.groups), 1), statistics.largest + 1
        fits = 1 < symbols <= _MAX_SYMBOLS and groups <= _MAX_GROUPS and symbols * groups <= _MAX_MODELS
        return _entropy_bound(self._fitted(statistics)) if fits and not long else None

    def fitted_bound(self, statistics: Statistics) -> float:
        """The information of the words under the fitted model, less what the end and rounding may save."""
        return _least_bytes(self._fitted(statistics))

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        fitted = self._fitted(statistics)
        return fitted.header + stack.push(list(zip(fitted.pieces, fitted.weights, strict=True)))

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        lengths = [length for length in groups or (count,) if length]
        symbols = min(_MAX_SYMBOLS, 1 << (8 * width), _MAX_MODELS // max(len(lengths), 1))
        blocks = sum(max(length // _BLOCK, 1).bit_length() + 1 for length in lengths)
        models = symbols * len(lengths)
        return Work(_MODEL * models + 4 * CHUNK, 15 * count + _MODEL * (models + blocks * symbols))

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        if len(groups) > _MAX_GROUPS or (groups and sum(groups) != count):
            raise FormatError(f"{len(groups)} groups of {sum(groups)} words, expected at most {_MAX_GROUPS} of {count}")
        lengths = [length for length in groups or (count,) if length]
        model, body = read_model(data, width)
        if len(body) < len(lengths):
            raise FormatError(f"a stream of {len(lengths)} groups has {len(body)} bytes for their scales and its code")
        if model.alphabet.symbols * len(lengths) > _MAX_MODELS:
            raise FormatError(
                f"{len(lengths)} groups of {model.alphabet.symbols} symbols, expected at most {_MAX_MODELS} in all"
            )
        starts = model.starts(np.frombuffer(body[: len(lengths)], np.uint8).astype(np.int64))
        coder, result, done = stack.opened(body[len(lengths) :]), np.empty(count, dtype_of(width)), 0
        for start, length in zip(starts, lengths, strict=True):
            counts = np.zeros(len(start), np.int64)
            for block in split(result[done : done + length]):
                categorical = stack.model(start + model.learned(counts))
                for at in range(0, len(block), CHUNK):
                    symbols = coder.decode(categorical, len(block[at : at + CHUNK]))
                    block[at : at + CHUNK] = symbols
                    counts += np.bincount(symbols, minlength=len(counts))
            done += length
        stack.check_end(coder)
        return result

    def _fitted(self, statistics: Statistics) -> _Fit:
        """The fit of a stream, the same for its bounds and ``encode``."""
        if statistics not in self._fits:
            self._fits[statistics] = _Fit.of(statistics)
        return self._fits[statistics]


def _entropy_bound(fitted: _Fit) -> int:
    """A lower bound of the bytes of a stream, whatever model is fitted to it.

    No model codes a block below its entropy. At the end of the stream, where the coder starts from the state s = 0,
    words may cost nothing (see :func:`_least_bytes`). Seen from the end, a word of slots from l on leaves s ≥ l; where
    a smaller word follows, that is at least its number of slots, so it leaves s ≥ 2²⁴. From the next word on, s > 2²⁴.
    """
    seen = fitted.blocks.seen
    header = 2 + len(write_varint(seen.shape[1] - 2)) + int(fitted.blocks.group[-1]) + 1
    tail = fitted.pieces[-1][-_FREE + 1 :]
    if not (tail[1:] > tail[:-1]).any():
        return header
    sizes, present = seen.sum(axis=1), seen[seen > 0]
    information = float((sizes * np.log2(sizes)).sum() - (present * np.log2(present)).sum())
    return header + math.ceil(_EFFICIENCY * max(information - _FREE * stack.PRECISION, 0.0) / 8)


def _least_bytes(fitted: _Fit) -> int:
    """A lower bound of the bytes of a fitted stream; 0 if the end of the stream gives no bound.

    The coder takes words from the end of the stream, and starts from the state s = 0. With M = 2²⁴, a word of f slots
    from l on changes s to ⌊s/f⌋ · M + l + s mod f. While s is small, words may cost nothing, so the words at the end
    are coded here, until s > M. For each word after that:

    - s' ≥ s + ⌊s/f⌋ · (M − f) and ⌊s/f⌋ > s/f − 1 give s' − M ≥ (s − M) · M/f: log2(s − M) grows by the information
      of the word, log2(M/f), or more.
    - Where s ≥ 2⁴⁰ f, the low 32 bits of s leave the state before. With I = s · M/(2³² f) ≥ 2³², the new state has
      s' − M > I − M/f − 2M + f ≥ (1 − 3/256) · I: at most 0.017 bits are lost for every 32 bits of the code.

    So the code has at least (log2(s − M) + information of the other words) / (1 + 0.017/32) bits.
    """
    slots = stack.slots(fitted.weights)
    state, coded = _coded_end(fitted.pieces[-1][-_TAIL:].tolist(), slots[-1])
    if state <= 1 << stack.PRECISION:
        return 0
    others = fitted.blocks.seen.copy()
    np.subtract.at(others[-1], coded, 1)
    information = float((others * (stack.PRECISION - np.log2(slots))).sum())
    bits = math.log2(state - (1 << stack.PRECISION)) + information
    return len(fitted.header) + math.ceil(_EFFICIENCY * bits / 8)


def _coded_end(words: list[int], slots: NDArray[np.float64]) -> tuple[int, list[int]]:
    """The coder's state after the last of these words, at least 2³² if they suffice, and the words it holds."""
    first = np.cumsum(slots) - slots
    state = taken = 0
    while state < 1 << 32 and taken < len(words):
        taken += 1
        own = int(slots[words[-taken]])
        state = (state // own << stack.PRECISION) + int(first[words[-taken]]) + state % own
    return state, words[len(words) - taken :]


def _split(words: Words, groups: tuple[int, ...]) -> list[Words]:
    """The groups that are not empty."""
    return [group for group in np.split(words, np.cumsum(groups)[:-1]) if len(group)] if groups else [words]


def _header(model: AdaptiveModel) -> bytes:
    """Shape, pooling and height in one byte; symbols; center."""
    first = model.shape - SHAPES.start | model.pooled << 3 | model.height // 2 << 4
    center = 0 if model.alphabet.center is None else model.alphabet.center + 1
    return bytes([first]) + write_varint(model.alphabet.symbols - 2) + write_varint(center)


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
    if symbols > min(_MAX_SYMBOLS, 1 << (8 * width)) or center > symbols:
        raise FormatError(
            f"a stream of contexts has {symbols} symbols and center {center}, expected at most {_MAX_SYMBOLS} of "
            f"{8 * width} bits, and a center up to their number"
        )
    alphabet = Alphabet(symbols, center - 1 if center else None)
    return AdaptiveModel(alphabet, (data[0] & 7) + SHAPES.start, 2 * (data[0] >> 4), bool(data[0] & 8)), rest
