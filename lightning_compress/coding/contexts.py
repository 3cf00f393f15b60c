"""One ANS code for consecutive groups of words, each of which has its own adaptive model.

The prior is a generalized Gaussian, given by one byte for each group and two for all; after 64 words, 128, 256, … the
counts so far are added to it. No frequency table is stored: for groups of a few thousand words, a table costs as much
as it saves. Older versions wrote this code; ``lanes`` has the same models, and is read faster.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_compress.coding import ans_stack
from lightning_compress.coding.coder import Statistics, Words, dtype_of
from lightning_compress.coding.models.adaptive import CHUNK, split
from lightning_compress.coding.models.adaptive_fit import MAX_MODELS, MAX_SYMBOLS, AdaptiveFit, is_adaptive, read_groups
from lightning_compress.runtime import Work

_HEADER = 4
_BLOCK = 64  # words of the shortest block
_MODEL = 48  # bytes, and operations, of one symbol in one model


class Contexts:
    """Alphabet, prior, and the scale of each group; then the 32-bit words of a range ANS coder."""

    id: ClassVar[str] = "contexts"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The bytes of the shortest header; None for streams that the model does not suit."""
        return _HEADER if is_adaptive(statistics) else None

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        fitted = AdaptiveFit.of(statistics)
        return fitted.header + ans_stack.push(list(zip(fitted.pieces, fitted.weights, strict=True)))

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        lengths = [length for length in groups or (count,) if length]
        symbols = min(MAX_SYMBOLS, 1 << (8 * width), MAX_MODELS // max(len(lengths), 1))
        blocks = sum(max(length // _BLOCK, 1).bit_length() + 1 for length in lengths)
        models = symbols * len(lengths)
        return Work(_MODEL * models + 4 * CHUNK, 15 * count + _MODEL * (models + blocks * symbols))

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        model, starts, lengths, body = read_groups(data, count, width, groups)
        coder, result, done = ans_stack.opened(body), np.empty(count, dtype_of(width)), 0
        for start, length in zip(starts, lengths, strict=True):
            counts = np.zeros(len(start), np.int64)
            for block in split(result[done : done + length]):
                categorical = ans_stack.model(start + model.learned(counts))
                for at in range(0, len(block), CHUNK):
                    symbols = coder.decode(categorical, len(block[at : at + CHUNK]))
                    block[at : at + CHUNK] = symbols
                    counts += np.bincount(symbols, minlength=len(counts))
            done += length
        ans_stack.check_end(coder)
        return result
