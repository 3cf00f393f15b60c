"""How often each word occurs: a compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uint64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly


@compiled_exactly
def count_words(words: NDArray[np.unsignedinteger[Any]], counts: NDArray[np.int64]) -> None:
    """Add to ``counts[w]`` how often w occurs among ``words``, all of which must be below its length."""
    for place in range(len(words)):
        counts[uint64(words[place])] += 1
