"""Size of the chosen code, with its table, compared with the zero-order entropy.

Asserted: for at least 100,000 symbols below 256, entropy + max(0.5 %, 8 bytes); for any other stream, 1.01 · entropy
+ 16 bytes + 2 bytes for each symbol that occurs, 3 where the symbols take more than a byte (the compact table).
"""

from __future__ import annotations

import numpy as np
import pytest
from each_case import naming

from lightning_compress import coding
from lightning_compress.coding import CODERS, Statistics
from lightning_compress.coding.coder import Words

N = 100_000


def _quantized(bits: int, count: int = N) -> Words:
    """Normal weights in 2^bits pieces of the interval that covers 98 % of them; those outside in the end pieces."""
    levels = 1 << bits
    pieces = np.random.default_rng(bits).normal(0, levels / (2 * 2.326), count) + levels / 2
    return np.floor(pieces).clip(0, levels - 1).astype("<u1")


def _pruned(bits: int, share: float) -> Words:
    """Quantized weights, the given share of them ZERO, two in a hundred OUTLIER."""
    words, random = _quantized(bits).copy(), np.random.default_rng(bits).random(N)
    words[random < share] = 1 << bits
    words[random > 0.98] = (1 << bits) + 1
    return words


def _two_valued(share: float) -> Words:
    return (np.random.default_rng(3).random(N) < share).astype("<u1")


def _geometric(share: float) -> Words:
    return (np.random.default_rng(4).geometric(share, N) - 1).clip(0, 255).astype("<u1")


LONG_STREAMS = {
    "normal, 4 bits": _quantized(4),
    "normal, 6 bits": _quantized(6),
    "normal, 8 bits": _quantized(8),
    "4 bits, 40 % pruned": _pruned(4, 0.4),
    "6 bits, 15 % pruned": _pruned(6, 0.15),
    "geometric, 0.5": _geometric(0.5),
    "geometric, 0.05": _geometric(0.05),
    "geometric, 0.01": _geometric(0.01),
    "uniform, 2": np.random.default_rng(5).integers(0, 2, N).astype("<u1"),
    "uniform, 3": np.random.default_rng(5).integers(0, 3, N).astype("<u1"),
    "uniform, 200": np.random.default_rng(5).integers(0, 200, N).astype("<u1"),
    "uniform, 256": np.random.default_rng(5).integers(0, 256, N).astype("<u1"),
    "two values, half": _two_valued(0.5),
    "two values, a tenth": _two_valued(0.1),
    "two values, a hundredth": _two_valued(0.01),
    "two values, a thousandth": _two_valued(0.001),
    "zipf": (np.random.default_rng(6).zipf(1.3, N) - 1).clip(0, 255).astype("<u1"),
    "small in wide words": _quantized(6).astype("<u4"),
}


def _entropy_bytes(words: Words) -> tuple[float, int]:
    """Zero-order entropy in bytes, and how many symbols occur."""
    counts = np.unique(words, return_counts=True)[1]
    return float((counts * np.log2(len(words) / counts)).sum()) / 8, len(counts)


@pytest.mark.parametrize("name", LONG_STREAMS)
def test_long_streams_of_few_symbols_come_within_half_a_percent(name: str) -> None:
    words = LONG_STREAMS[name]
    coder, code = coding.encode(words)
    entropy, _ = _entropy_bytes(words)
    assert len(code) <= entropy + max(0.005 * entropy, 8), f"{coder}: {len(code)} bytes, entropy {entropy:.0f}"
    assert len(code) <= words.nbytes
    np.testing.assert_array_equal(coding.decode(coder, memoryview(code), len(words), words.itemsize), words)


@pytest.mark.parametrize("shape", ["uniform", "normal", "zipf"])
def test_other_streams_come_within_one_percent_and_a_compact_table(shape: str) -> None:
    for count in (1, 10, 100, 1000, 10_000, 200_000):
        for alphabet in (2, 17, 66, 256, 257, 4096, 4097, 65538):
            with naming((count, alphabet)):
                _check_compact_table(shape, count, alphabet)


def _check_compact_table(shape: str, count: int, alphabet: int) -> None:
    random = np.random.default_rng([count, alphabet])
    drawn = {
        "uniform": lambda: random.integers(0, alphabet, count),
        "normal": lambda: random.normal(alphabet / 2, alphabet / 6, count).clip(0, alphabet - 1),
        "zipf": lambda: (random.zipf(1.3, count) - 1).clip(0, alphabet - 1),
    }[shape]()
    words = drawn.astype("<u1" if alphabet <= 256 else "<u2" if alphabet <= 65536 else "<u4")
    coder, code = coding.encode(words)
    entropy, present = _entropy_bytes(words)
    assert len(code) <= 1.01 * entropy + 16 + (2 if alphabet <= 256 else 3) * present, (
        f"{coder}: {len(code)} bytes, entropy {entropy:.0f}"
    )
    assert len(code) <= words.nbytes
    np.testing.assert_array_equal(coding.decode(coder, memoryview(code), len(words), words.itemsize), words)


def test_repetition_is_coded_below_the_entropy() -> None:
    words = np.tile(np.random.default_rng(8).integers(0, 256, 500), 100).astype("<u1")
    assert len(coding.encode(words)[1]) < 0.05 * _entropy_bytes(words)[0]


@pytest.mark.parametrize("kind", ["normal", "rising", "bfloat16"])
def test_the_bound_of_long_planes_is_near_what_they_take(kind: str) -> None:
    """It is estimated from pieces, and decides whether planes are coded at all."""
    values = np.random.default_rng(3).normal(size=1_500_000).astype("<f4")
    if kind == "rising":  # the pieces differ from each other
        values *= np.linspace(0.01, 100, len(values)).astype("<f4")
    stream = values.view("<u4") & np.uint32(0xFFFF0000 if kind == "bfloat16" else 0xFFFFFFFF)
    statistics = Statistics(stream)
    bound, code = CODERS["planes"].lower_bound(statistics), CODERS["planes"].encode(statistics)
    assert bound is not None
    assert 0.98 * len(code) < bound <= 1.002 * len(code)
