"""The paper's formula for the compression rate; it counts neither positions of zeros nor entropy coding."""

from __future__ import annotations

WORD = 32  # bits of a weight before compression
HALF = 16


def equation_2(bits: int, coverage: float) -> float:
    """Rate of quantization alone (reference paper, equation 2): size before over size after.

    The paper leaves open how many bits mark a weight outside the interval. This function uses as many bits as an
    index has, which reproduces the rates of its tables 2 and 3.

    Args:
        bits: n, of an index.
        coverage: share of the weights inside the interval, 0 to 1.
    """
    return combination(0.0, bits, coverage, half=False)


def combination(pruned: float, bits: int | None = None, coverage: float = 1.0, *, half: bool = False) -> float:
    """Rate of a step of the combination (reference paper, tables 2 and 3): pruned weights cost nothing.

    Args:
        pruned: share of the weights that are pruned, from 0 to below ``coverage``; they lie inside the interval.
        bits: n, of an index; None where nothing is quantized.
        coverage: share of the weights inside the interval, 0 to 1.
        half: whether weights outside are kept in half precision.
    """
    word = HALF if half else WORD
    if bits is None:
        return WORD / ((1 - pruned) * word)
    return WORD / (max(coverage - pruned, 0.0) * bits + (1 - coverage) * (word + bits))
