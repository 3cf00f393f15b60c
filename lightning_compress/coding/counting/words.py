"""How often each word occurs: a compiled loop, or NumPy where there is no compiler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_compress.runtime.compiler import has_compiler_for, read_only

_CHUNK = 1 << 20


def occurrences(words: NDArray[np.unsignedinteger], symbols: int) -> NDArray[np.int64]:
    """``[symbols]``: how often each word occurs.

    Args:
        words: ``[n]`` unsigned words, all below ``symbols``.
        symbols: how many different words there may be.
    """
    counts = np.zeros(symbols, np.int64)
    if has_compiler_for(len(words)):
        from lightning_compress.coding.counting.loops import count_words

        count_words(read_only(words), counts)
        return counts
    for start in range(0, len(words), _CHUNK):
        counts += np.bincount(words[start : start + _CHUNK].astype(np.int64), minlength=symbols)
    return counts
