"""The coder of grouped streams: close to the entropies of the groups, and safe against damaged streams."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.coding import CODERS, Statistics
from lightning_compress.coding.coder import Words
from lightning_compress.coding.contexts import Contexts
from lightning_compress.coding.models.generalized_gaussian import SHAPES, powers, prior, slopes
from lightning_compress.errors import FormatError
from lightning_compress.quantize import StreamSpec

CONTEXTS = CODERS["contexts"]
assert isinstance(CONTEXTS, Contexts)


def zigzag(values: np.ndarray) -> Words:
    """0, −1, 1, −2, 2, … as 0, 1, 2, 3, 4, …"""
    return np.where(values >= 0, 2 * values, -2 * values - 1).astype("<u1")


def generalized(random: np.random.Generator, shape: float, size: tuple[int, ...]) -> np.ndarray:
    """Generalized Gaussian numbers of variance 1: |x|^shape is gamma distributed."""
    numbers = random.gamma(1 / shape, 1, size) ** (1 / shape) * random.choice([-1, 1], size)
    return numbers / math.sqrt(math.gamma(3 / shape) / math.gamma(1 / shape))


def entropy_bytes(words: Words) -> float:
    """Zero-order entropy of a stream, in bytes."""
    counts = np.unique(words, return_counts=True)[1]
    return float((counts * np.log2(len(words) / counts)).sum()) / 8


def matrix(shape: float, bits: float, size: int) -> list[Words]:
    """A square matrix of about so many bits a weight, its scales varying by row and column, in groups of like scale."""
    random = np.random.default_rng([int(10 * shape), int(10 * bits), size])
    rows, columns = random.normal(0, 0.5, (size, 1)), random.normal(0, 0.25, (1, size))
    step = 4.13 / 2**bits  # the entropy of a normal variable in steps of one σ is 2.05 bits
    indices = np.rint(generalized(random, shape, (size, size)) * np.exp2(rows + columns) / step).astype(np.int64)
    classes = np.rint(3 * rows).clip(-4, 4).astype(int) + np.rint(3 * columns).clip(-2, 2).astype(int)
    return [zigzag(indices[classes == number]) for number in np.unique(classes)]


def round_trip(words: Words, groups: tuple[int, ...]) -> bytes:
    """The code, after a check that it decodes to the words."""
    code = CONTEXTS.encode(Statistics(words, groups))
    again = CONTEXTS.decode(memoryview(code), len(words), words.itemsize, groups)
    assert again.dtype == words.dtype
    np.testing.assert_array_equal(again, words)
    return code


@pytest.mark.parametrize("size", [256, 1024])
@pytest.mark.parametrize("bits", [1.6, 2.5])
@pytest.mark.parametrize("shape", [1.0, 1.3, 2.0])
def test_groups_come_within_three_thousandths_and_a_few_bytes_of_their_entropies(
    shape: float, bits: float, size: int
) -> None:
    groups = matrix(shape, bits, size)
    words, lengths = np.concatenate(groups), tuple(map(len, groups))
    entropies = sum(map(entropy_bytes, groups))
    code = round_trip(words, lengths)
    assert len(code) <= 1.003 * entropies + 8
    assert len(code) <= 0.98 * len(CODERS["ans"].encode(Statistics(words))), "groups tell nothing"


SHORT = {
    "biases of 8 bits": (zigzag(np.rint(np.random.default_rng(1).normal(0, 20, 256)).astype(int)), 20),
    "row exponents": (np.rint(np.random.default_rng(2).normal(16, 5, 256)).clip(0, 60).astype("<u1"), 12),
    "classes": (np.random.default_rng(3).choice(4, 256, p=[0.1, 0.4, 0.35, 0.15]).astype("<u1"), 10),
    "falling": ((np.random.default_rng(4).geometric(0.3, 500) - 1).astype("<u1"), 10),
    "two values": (np.random.default_rng(5).choice(2, 300, p=[0.9, 0.1]).astype("<u1"), 8),
}


@pytest.mark.parametrize("name", SHORT)
def test_short_streams_cost_few_bytes_above_their_entropy(name: str) -> None:
    words, allowed = SHORT[name]
    code = round_trip(words, ())
    assert len(code) <= entropy_bytes(words) + allowed
    assert len(code) <= len(CODERS["ans"].encode(Statistics(words)))


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 63, 64, 65, 127, 128, 129, 300]), min_size=1, max_size=6),
    largest=st.sampled_from([1, 2, 3, 16, 255, 4095]),
    seed=st.integers(0, 99),
)
def test_groups_of_any_lengths_round_trip(lengths: list[int], largest: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    width = 1 if largest < 256 else 2
    words = np.concatenate([random.integers(0, largest >> (k % 3), n, endpoint=True) for k, n in enumerate(lengths)])
    words = words.astype(f"<u{width}")
    if words.max(initial=0) == 0:
        return
    round_trip(words, tuple(lengths))


@pytest.mark.parametrize("groups", [(100,), (50, 51), (100, -1), (1,) * 257])
def test_groups_that_are_not_those_of_the_stream_are_refused(groups: tuple[int, ...]) -> None:
    code = CONTEXTS.encode(Statistics(np.array([0, 1, 2, 1] * 25 + [0], "<u1")))
    if sum(groups) != 101:
        with pytest.raises(FormatError, match="groups"):
            CONTEXTS.decode(memoryview(code), 101, 1, groups)
    else:
        with pytest.raises(FormatError):
            CONTEXTS.decode(memoryview(code), 101, 1, (*groups, 0))


@pytest.mark.parametrize("groups", [(1, 3), (4, -1), (-1, 4), (1 << 70,)])
def test_a_stream_has_groups_that_sum_to_its_words(groups: tuple[int, ...]) -> None:
    assert StreamSpec(3, 1, (0, 1, 2, 0)).groups == (0, 1, 2, 0)
    with pytest.raises(FormatError, match="sum to 3"):
        StreamSpec(3, 1, groups)


BOMBS = {
    "nothing": b"",
    "4097 symbols": bytes([0x30]) + b"\xff\x1f\x00" + b"\x40\x01",
    "2^56 symbols": bytes([0x30]) + b"\xff" * 7 + b"\x7f\x00\x40\x01",
    "257 symbols of one byte": bytes([0x30]) + b"\xff\x01\x00\x40\x01",
    "a center beyond the symbols": b"\x30\x02\x06\x40\x01",
    "a center far away": b"\x30\x02" + b"\xff" * 7 + b"\x7f\x40\x01",
    "no scale": b"\x30\x02\x00",
    "a zero word at the end": b"\x30\x02\x00\x40\x01\x02\x03\x04" + bytes(8),
    "a number without an end": b"\x30" + b"\xff" * 20,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            CONTEXTS.decode(memoryview(BOMBS[name]), 1 << 16, 1)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_every_scale_gives_weights_that_fall_with_the_magnitude() -> None:
    scales = np.arange(256)
    assert slopes(scales)[[0, 16, 255]] == pytest.approx([16.0, 8.0, 2 ** (4 - 255 / 16)], rel=1e-14)
    assert powers(np.array([0, 1, 16, 81]), 3) == pytest.approx([0, 1, 8, 27], rel=1e-14)
    for shape in SHAPES:
        for height in (0, 14, 30):
            weights = prior(np.arange(5000), shape, scales, height)
            assert (weights[:, 0] == 1 << height).all()
            assert (np.diff(weights, axis=1) <= 0).all()
            assert weights.min() >= 1
    exact = np.maximum(2 ** (20 - 2 ** (4 - 70 / 16) * np.arange(40) ** 1.25), 1)
    assert prior(np.arange(40), 5, np.array([70]), 20)[0] == pytest.approx(exact, rel=0.012, abs=1)
