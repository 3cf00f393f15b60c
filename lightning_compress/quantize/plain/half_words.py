"""Words of 16 bits: how values are cut to them, and which values they cannot hold."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.errors import FormatError
from lightning_compress.quantize.payload import Words, to_words
from lightning_compress.runtime import empty
from lightning_compress.runtime.compiler import loops_take, read_only
from lightning_compress.weights import all_finite

_EXPONENTS = {"bfloat16": np.uint16(0x7F80), "float16": np.uint16(0x7C00)}
_CHUNK = 1 << 18


def lost_positions(flat: Tensor, halves: Tensor) -> Tensor:
    """``[m]``: where values are that the 16-bit format cannot hold."""
    if not loops_take(flat):
        return is_lost(flat, halves.to(flat.dtype)).nonzero().flatten()
    from lightning_compress.quantize.plain.half_loops import find_lost

    words, shorts = read_only(to_words(flat)), read_only(to_words(halves))
    exponent = int(_EXPONENTS[str(halves.dtype).removeprefix("torch.")])
    positions = np.empty(0, np.int64)
    found = find_lost(words, shorts, exponent, positions)
    if found:
        positions = np.empty(found, np.int64)
        find_lost(words, shorts, exponent, positions)
    return torch.from_numpy(positions)


def is_lost(flat: Tensor, back: Tensor) -> Tensor:
    """``[n]``, bool: which values the 16-bit format cannot hold, given what it makes of them."""
    vanishes = (back == 0) & (flat != 0)
    if flat.device.type == "cpu" and all_finite(flat) and all_finite(back):
        return vanishes  # an accelerator would have to be waited for
    return vanishes | ~(torch.isfinite(flat) & torch.isfinite(back))


def truncated(flat: Tensor) -> Tensor:
    """bfloat16 by dropping the low 16 bits of the float32 word."""
    if not loops_take(flat):
        return (flat.float().view(torch.int32) >> 16).to(torch.int16).view(torch.bfloat16)
    from lightning_compress.quantize.plain.half_loops import truncate

    halves = empty([len(flat)], torch.bfloat16)
    truncate(read_only(to_words(flat)), halves.view(torch.uint16).numpy())
    return halves


def check_finite(words: Words, name: str, escapes: NDArray[np.int64]) -> None:
    """Raise a FormatError where a word is infinite or NaN without an exact value in its place.

    How NaN is widened differs between processors, and no writer leaves one there.
    """
    exponent = _EXPONENTS[name]
    for start in range(0, len(words), _CHUNK):
        special = np.flatnonzero(words[start : start + _CHUNK] & exponent == exponent) + start
        if len(special) and not np.isin(special, escapes).all():
            raise FormatError(f"element {special[~np.isin(special, escapes)][0]} is a {name} that is not finite")
