"""Other ways to write a payload that holds zeros: the positions of the elements that are not 0, and their payload.

A symbol for 0 among the indices costs as many bits as the positions of the zeros do, where zeros are scattered. Where
they stand in runs, such as whole rows, or where values are coded byte by byte, positions cost less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightning_compress.quantize.composite.sparse import Form, SparsePayload, bitmap_of, gaps_of
from lightning_compress.quantize.payload import Payload, Words, positions_of

_WORTHWHILE = 0.98
_ZEROS = 1 / 16
_PIECES, _PIECE = 8, 1 << 12
_SURELY = 1.01  # pieces of scattered zeros show at least so much more than what is worthwhile


def sparse_forms(payload: Payload) -> Iterator[SparsePayload]:
    """The same tensor with its zeros apart, once for each form of positions that is estimated to take fewer bytes.

    The estimate is the zero-order entropy of the gaps or of the bitmap's bytes and what it takes to describe their
    distribution, against the entropy of a symbol for 0 among the indices. For values that are no indices, one zero in
    16 elements suffices.
    """
    split = payload.split_zeros()
    if split is None:
        return
    elements, number = len(split.kept), int(np.count_nonzero(split.kept))
    zeros = elements - number
    if not zeros or (not split.has_zero_symbol and zeros < _ZEROS * elements):
        return
    most_bits = _WORTHWHILE * _bits(np.array([zeros, number])) if split.has_zero_symbol else np.inf
    if split.has_zero_symbol and elements > _PIECES * _PIECE and not _may_pay(split.kept):
        return
    kept = positions_of(split.kept)
    forms: tuple[tuple[Form, Words], ...] = (("gaps", gaps_of(kept)), ("bitmap", bitmap_of(kept, elements)))
    counts = ((form, words, _counts(words)) for form, words in forms)
    pays = [(form, words) for form, words, counted in counts if _bits(counted) + _model_bits(counted) < most_bits]
    if pays:
        values = split.values(kept)
        yield from (SparsePayload(words, form, values, split.shape) for form, words in pays)


def _may_pay(kept: NDArray[np.bool_]) -> bool:
    """Whether the better form may take fewer bits than a symbol for 0, by pieces of a large tensor."""
    starts = np.linspace(0, len(kept) - _PIECE, _PIECES).astype(np.int64)
    pieces = np.concatenate([kept[start : start + _PIECE] for start in starts])
    positions = positions_of(pieces)
    symbol_bits = _bits(np.array([len(pieces) - len(positions), len(positions)]))
    least = min(_bits(_counts(gaps_of(positions))), _bits(_counts(bitmap_of(positions, len(pieces)))))
    return least <= _SURELY * _WORTHWHILE * symbol_bits


def _counts(words: Words) -> NDArray[np.int64]:
    """How often each word occurs."""
    if int(words.max(initial=0)) < 1 << 20:
        return np.bincount(words.astype(np.int64))
    return np.unique(words, return_counts=True)[1]


def _bits(counts: NDArray[np.int64]) -> float:
    """Zero-order entropy of so many words of each value, all together."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum())


def _model_bits(counts: NDArray[np.int64]) -> float:
    """What a code takes to learn the distribution of words: half the logarithm of their number for each frequency.

    J. Rissanen 1984, "Universal coding, information, prediction, and estimation".
    """
    distinct = int(np.count_nonzero(counts))
    return max(distinct - 1, 0) / 2 * math.log2(max(int(counts.sum()), 1))
