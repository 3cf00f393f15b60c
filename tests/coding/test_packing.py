"""Packed bits, and words in two parts: compiled loops write and read what NumPy does."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_compress.coding import packed
from lightning_compress.coding.lanes import low_bits
from lightning_compress.coding.lanes.low_bits import Split
from lightning_compress.runtime import compiler as compiler_module


def drawn(count, width):
    whole = np.random.default_rng(count).integers(0, 256, count * width, dtype=np.uint8)
    return whole.view(f"<u{width}")


@pytest.mark.parametrize(("width", "bits"), [(1, 3), (1, 8), (2, 5), (2, 9), (4, 13), (4, 16), (4, 20), (8, 47)])
@pytest.mark.parametrize("count", [(1 << 17) + rest for rest in range(1, 9)])
def test_packed_bits_do_not_depend_on_the_compiler(monkeypatch, width, bits, count):
    words = drawn(count, width)
    data = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        data.append(packed.pack(words, bits))
    assert data[0] == data[1]
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        again = packed.unpack(memoryview(data[0]), bits, count, width)
        assert np.array_equal(again, words & np.array((1 << bits) - 1, words.dtype))


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("low", [1, 4, 9])
def test_split_words_do_not_depend_on_the_compiler(monkeypatch, width, rotated, low):
    low += 8 * (width - 2)
    words, split = drawn((1 << 17) + 5, width), Split(rotated, low)
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        symbols, data = split.divided(words)
        found.append((symbols.tolist(), bytes(data)))
        assert np.array_equal(split.joined(symbols, packed.unpack(memoryview(data), low, len(words), width)), words)
    assert found[0] == found[1]


@pytest.mark.parametrize("count", [1, 2, 700, 100_000])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "counts", "uniform"])
def test_the_division_does_not_depend_on_the_compiler(monkeypatch, count, kind):
    random = np.random.default_rng(count)
    floats = random.normal(0, 0.04, count).astype("<f4").view("<u4")
    words = {
        "float32": floats,
        "bfloat16": (floats >> np.uint32(16)).astype("<u2"),
        "counts": random.geometric(0.001, count).astype("<u8"),
        "uniform": random.integers(0, 1 << 16, count).astype("<u2"),
    }[kind]
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(low_bits, "has_compiler", lambda compiler=compiler: compiler)
        width = int(words.max()).bit_length()
        bits = dict(low_bits._estimated_bits(words[:50_000], width, count))
        found.append((Split.of(words), bits))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1])
    of_words = np.unique(words[:50_000] >> np.array(min(bits), words.dtype), return_counts=True)[1]
    entropy = float((of_words / of_words.sum() * -np.log2(of_words / of_words.sum())).sum())
    assert bits[min(bits)] == pytest.approx(entropy + min(bits) + 8 * len(of_words) / count)
