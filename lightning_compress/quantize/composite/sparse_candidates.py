"""Other ways to write a payload that holds zeros: the positions of the elements that are not 0, and their payload.

A symbol for 0 among the indices costs as many bits as the positions of the zeros do, where zeros are scattered. Where
they stand in runs, such as whole rows, or where values are coded byte by byte, positions cost less.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightning_compress.quantize.composite.sparse import Form, SparsePayload, bitmap_of, gaps_of
from lightning_compress.quantize.payload import Payload, Words

_WORTHWHILE = 0.98
_ZEROS = 1 / 16
_PIECES, _PIECE = 16, 1 << 12
_SURELY = 1.01  # pieces of scattered zeros show at least so much more than what is worthwhile


def sparse_forms(payload: Payload) -> Iterator[SparsePayload]:
    """The same tensor with its zeros apart, once for each form of positions that is estimated to take fewer bytes.

    The estimate is the zero-order entropy of the gaps or of the bitmap's bytes, against that of a symbol for 0 among
    the indices. For values that are no indices, one zero in 16 elements suffices.
    """
    split = payload.split_zeros()
    if split is None:
        return
    kept, elements = split.positions, int(np.prod(split.shape, dtype=np.int64))
    zeros = elements - len(kept)
    if not zeros or (not split.has_zero_symbol and zeros < _ZEROS * elements):
        return
    most_bits = _WORTHWHILE * _bits(np.array([zeros, len(kept)])) if split.has_zero_symbol else np.inf
    if most_bits < np.inf and elements > _PIECES * _PIECE and _least_bits(kept, elements) > _SURELY * most_bits:
        return
    forms: tuple[tuple[Form, Words], ...] = (("gaps", gaps_of(kept)), ("bitmap", bitmap_of(kept, elements)))
    for form, words in forms:
        if _bits(_counts(words)) < most_bits:
            yield SparsePayload(words, form, split.values, split.shape)


def _least_bits(kept: NDArray[np.int64], elements: int) -> float:
    """About how many bits the better form takes, by pieces of a large tensor."""
    starts = np.linspace(0, elements - _PIECE, _PIECES).astype(np.int64)
    bounds = np.searchsorted(kept, [starts, starts + _PIECE]).T
    pieces = [kept[begin:end] - start for start, (begin, end) in zip(starts, bounds, strict=True)]
    gaps = np.concatenate([gaps_of(piece).astype(np.int64) for piece in pieces])
    bitmap = np.concatenate([bitmap_of(piece, _PIECE) for piece in pieces])
    return elements / (_PIECES * _PIECE) * min(_bits(_counts(gaps.view(np.uint64))), _bits(_counts(bitmap)))


def _counts(words: Words) -> NDArray[np.int64]:
    """How often each word occurs."""
    if int(words.max(initial=0)) < 1 << 20:
        return np.bincount(words.astype(np.int64))
    return np.unique(words, return_counts=True)[1]


def _bits(counts: NDArray[np.int64]) -> float:
    """Zero-order entropy of so many words of each value, all together."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum())
