"""The stack of 32-bit words that both ANS coders write: models from integer weights, bytes from symbols, and back.

docs/format.md (``ans``) specifies the arithmetic.
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
    """A model of two or more symbols: symbol i gets a share of about ``weights[i]`` of the 2²⁴ slots, at least one."""
    return constriction.stream.model.Categorical(weights.astype(np.float64), perfect=False)


def push(parts: Sequence[Part]) -> bytes:
    """Encode consecutive parts of a stream, each given as its symbols ``[n]`` and the weights of its model."""
    coder = constriction.stream.stack.AnsCoder()
    for symbols, weights in reversed(parts):
        coder.encode_reverse(symbols.astype(np.int32, copy=False), model(weights))
    code: bytes = coder.get_compressed().astype("<u4").tobytes()
    return code.rstrip(b"\0")


def opened(code: bytes | memoryview) -> constriction.stream.stack.AnsCoder:
    """A decoder of the code.

    Raises:
        FormatError: the code ends in a zero word, which no encoder writes.
    """
    words = np.frombuffer(bytes(code) + bytes(-len(code) % 4), "<u4").astype(np.uint32)
    if len(words) and words[-1] == 0:
        raise FormatError("an ANS stream ends in a zero word, which no encoder writes")
    return constriction.stream.stack.AnsCoder(words)


def check_end(coder: constriction.stream.stack.AnsCoder) -> None:
    """Check that the whole code was read.

    Raises:
        FormatError: the code has more bytes than its symbols need.
    """
    if not coder.is_empty():
        raise FormatError("an ANS stream holds more than its symbols")
