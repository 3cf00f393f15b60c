"""The stack of 32-bit words under both ANS codes: integer weights to models, symbols to bytes and back.

docs/format.md (``ans``) gives the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from lightning_compress.errors import FormatError

Part = tuple[NDArray[Any], NDArray[np.int64]]


def model(weights: NDArray[np.int64]) -> constriction.stream.model.Categorical:
    """Symbol i with a share of about ``weights[i]`` of the 2²⁴ slots, and at least one; two symbols or more."""
    return constriction.stream.model.Categorical(weights.astype(np.float64), perfect=False)


def push(parts: Sequence[Part]) -> bytes:
    """The code of consecutive pieces of a stream: symbols ``[n]``, and the weights of their model, of each."""
    coder = constriction.stream.stack.AnsCoder()
    for symbols, weights in reversed(parts):
        coder.encode_reverse(symbols.astype(np.int32, copy=False), model(weights))
    code: bytes = coder.get_compressed().astype("<u4").tobytes()
    return code.rstrip(b"\0")


def opened(code: bytes | memoryview) -> constriction.stream.stack.AnsCoder:
    """The stack of a code, for ``decode``.

    Raises:
        FormatError: it ends in a zero word, which none does.
    """
    words = np.frombuffer(bytes(code) + bytes(-len(code) % 4), "<u4").astype(np.uint32)
    if len(words) and words[-1] == 0:
        raise FormatError("an ANS stream ends in a zero word, which none does")
    return constriction.stream.stack.AnsCoder(words)


def check_end(coder: constriction.stream.stack.AnsCoder) -> None:
    """Nothing is left.

    Raises:
        FormatError: the stack holds more.
    """
    if not coder.is_empty():
        raise FormatError("an ANS stream holds more than its symbols")
