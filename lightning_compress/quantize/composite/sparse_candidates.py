"""Other ways to write a payload that holds zeros: which elements are not 0, and the payload of those.

A symbol of its own among the indices costs zeros as many bits as their positions do, where they stand one by one. Where
they stand in runs, such as whole rows, or where values are coded byte by byte, positions cost less.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_compress.quantize.codebook.payload import CodebookPayload, index_dtype
from lightning_compress.quantize.composite.sparse import Form, SparsePayload, bitmap_of, gaps_of
from lightning_compress.quantize.interval.payload import IndexedPayload
from lightning_compress.quantize.payload import Payload, Words, from_words, to_words
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload

_WORTHWHILE = 0.98
_ZEROS = 1 / 16


def sparse_forms(payload: Payload) -> Iterator[SparsePayload]:
    """The same tensor with its zeros apart, once for each way to write positions that promises fewer bytes.

    Zero-order entropies promise: that of the gaps or of the bitmap's bytes, against that of a symbol 0 among the
    indices. Values that are no indices are worth it from one zero in 16 on.
    """
    split = _split(payload)
    if split is None:
        return
    kept, values, shape = split
    elements = int(np.prod(shape, dtype=np.int64))
    zeros = elements - len(kept)
    is_indexed = isinstance(payload, (IndexedPayload, CodebookPayload))
    if not zeros or (not is_indexed and zeros < _ZEROS * elements):
        return
    within = _WORTHWHILE * _bits(np.array([zeros, len(kept)])) if is_indexed else np.inf
    forms: tuple[tuple[Form, Words], ...] = (("gaps", gaps_of(kept)), ("bitmap", bitmap_of(kept, elements)))
    for form, words in forms:
        if _bits(_counts(words)) < within:
            yield SparsePayload(kept, form, values, shape)


def _split(payload: Payload) -> tuple[NDArray[np.int64], Payload, tuple[int, ...]] | None:
    """Positions of the elements that are not 0, their payload, and the shape; None for payloads that stay whole."""
    if isinstance(payload, RawPayload) and payload.tensor.element_size() <= 8:
        return *_split_raw(payload), tuple(payload.tensor.shape)
    if isinstance(payload, HalfPayload):
        return *_split_half(payload), payload.shape
    if isinstance(payload, IndexedPayload):
        return *_split_indexed(payload), payload.shape
    if isinstance(payload, CodebookPayload) and payload.scales is None:
        return *_split_codebook(payload), payload.shape
    return None


def _split_raw(payload: RawPayload) -> tuple[NDArray[np.int64], RawPayload]:
    words = to_words(payload.tensor)
    kept = _where(words != 0)
    return kept, RawPayload(from_words(words[kept], payload.tensor.dtype))


def _split_half(payload: HalfPayload) -> tuple[NDArray[np.int64], HalfPayload]:
    words, escapes = to_words(payload.halves), payload.escapes.numpy()
    is_kept = words != 0
    is_kept[escapes] = True
    kept = _where(is_kept)
    moved = torch.from_numpy(np.searchsorted(kept, escapes))
    halves = from_words(words[kept], payload.halves.dtype)
    return kept, HalfPayload(halves, moved, payload.exact, (len(kept),))


def _split_indexed(payload: IndexedPayload) -> tuple[NDArray[np.int64], Payload]:
    words = to_words(payload.indices)
    kept = _where(words != payload.codebook.zero)
    if not payload.codebook.levels:
        return kept, payload.outliers
    indices = from_words(words[kept], payload.indices.dtype)
    return kept, IndexedPayload(indices, payload.codebook, payload.outliers, (len(kept),), payload.dtype)


def _split_codebook(payload: CodebookPayload) -> tuple[NDArray[np.int64], CodebookPayload]:
    words, zeros = to_words(payload.indices), np.flatnonzero(to_words(payload.values) == 0)
    if len(zeros) != 1:
        return np.arange(len(words)), payload
    (zero,) = zeros.tolist()
    kept = _where(words != zero)
    rest = words[kept]
    indices = from_words(rest - (rest > zero).astype(rest.dtype), payload.indices.dtype)
    values = torch.cat([payload.values[:zero], payload.values[zero + 1 :]])
    narrow = indices.to(index_dtype(len(values)))
    return kept, CodebookPayload(narrow, values, None, payload.outliers, (len(kept),))


def _where(is_kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.flatnonzero(is_kept).astype(np.int64, copy=False)


def _counts(words: Words) -> NDArray[np.int64]:
    """How often each word occurs."""
    if int(words.max(initial=0)) < 1 << 20:
        return np.bincount(words.astype(np.int64))
    return np.unique(words, return_counts=True)[1]


def _bits(counts: NDArray[np.int64]) -> float:
    """Zero-order entropy of so many words of each kind, all together."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum())
