"""The coder of grouped streams: close to the entropies of the groups, and safe against damaged streams."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress import coding
from lightning_compress.coding import CODERS, Statistics, stack
from lightning_compress.coding.coder import Words
from lightning_compress.coding.contexts import Contexts
from lightning_compress.coding.generalized_gaussian import SHAPES, powers, prior, slopes
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
    assert coding.encode(words, lengths) == ("contexts", code)


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
    coder, code = coding.encode(words, tuple(lengths))
    again = coding.decode(coder, memoryview(code), len(words), width, tuple(lengths))
    np.testing.assert_array_equal(again, words)


def test_streams_that_the_coder_does_not_support_have_no_bound() -> None:
    def bound(words: list[int], groups: tuple[int, ...] = ()) -> float | None:
        return CONTEXTS.lower_bound(Statistics(np.array(words, "<u2"), groups))

    assert bound([0, 1]) is not None
    assert bound([0, 4095]) is not None
    assert bound([0, 4096]) is None, "too many symbols"
    assert bound([0, 0]) is None, "one symbol"
    assert bound([0, 1] * 200, (1,) * 400) is None, "too many groups"
    assert bound([0, 4095] * 50, (1,) * 100) is None, "too many models"
    assert bound([0, 1] * (1 << 20)) is None, "long and alone"
    assert bound([0, 1] * (1 << 20), (1 << 20, 1 << 20)) is not None


@st.composite
def streams(draw: st.DrawFn) -> tuple[Words, tuple[int, ...]]:
    """Streams of many forms, in up to four groups: even, bell-shaped, sorted, constant at one end, of rare words."""
    symbols, n = draw(st.sampled_from([2, 3, 17, 66, 256, 4096])), draw(st.integers(1, 3000))
    random = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    words = {
        "even": lambda: random.integers(0, symbols, n),
        "bell": lambda: random.normal(symbols / 2, symbols / 12, n),
        "rising": lambda: np.sort(random.integers(0, symbols, n)),
        "falling": lambda: np.sort(random.integers(0, symbols, n))[::-1],
        "rare": lambda: (random.random(n) < 0.01) * (symbols - 1),
        "constant end": lambda: np.where(np.arange(n) < n // 2, random.integers(0, symbols, n), symbols - 1),
        "zero end": lambda: np.where(np.arange(n) < n // 2, random.integers(0, symbols, n), 0),
    }[draw(st.sampled_from(["even", "bell", "rising", "falling", "rare", "constant end", "zero end"]))]()
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=3)))
    groups = tuple(int(length) for length in np.diff([0, *cuts, n])) if cuts else ()
    words = words.clip(0, symbols - 1).astype("<u1" if symbols <= 256 else "<u2")
    words[random.integers(n)] = symbols - 1  # two symbols or more, unless all are the largest
    return words, groups


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(stream=streams())
def test_no_code_is_shorter_than_its_bound(stream: tuple[Words, tuple[int, ...]]) -> None:
    statistics = Statistics(*stream)
    loose, length = CONTEXTS.lower_bound(statistics), len(CONTEXTS.encode(statistics))
    assert loose is not None
    assert max(loose, CONTEXTS.fitted_bound(statistics)) <= length


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(stream=streams())
def test_the_choice_is_that_of_trying_every_coder(stream: tuple[Words, tuple[int, ...]]) -> None:
    statistics = Statistics(*stream)
    coders = [coder for coder in CODERS.values() if coder.lower_bound(statistics) is not None]
    codes = [(coder.id, coder.encode(statistics)) for coder in coders]
    assert coding.encode(*stream) == min(codes, key=lambda code: len(code[1])), "of equal lengths, the first"


def test_no_model_is_fitted_where_the_entropy_of_the_blocks_excludes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that repeats its first words: Zstandard needs fewer bytes than the entropy of any block."""
    monkeypatch.setattr("lightning_compress.coding.contexts.fit", lambda blocks: pytest.fail("fitted"))
    words = np.tile(np.random.default_rng(0).integers(0, 256, 300).astype("<u1"), 10)
    assert coding.encode(words)[0] == "zstd"


@pytest.mark.parametrize("symbols", [2, 17, 256])
def test_the_bound_of_words_at_random_is_within_a_thousandth_and_two_bytes(symbols: int) -> None:
    for n in (100, 1000, 100_000):
        words = np.random.default_rng([symbols, n]).integers(0, symbols, n).astype("<u1")
        statistics = Statistics(words)
        bound, length = CONTEXTS.fitted_bound(statistics), len(CONTEXTS.encode(statistics))
        assert length - 2 - length / 1000 <= bound <= length


def test_a_stream_that_cannot_win_is_not_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform bytes are stored: the bound of the fitted model excludes ``contexts`` before it encodes."""
    monkeypatch.setattr(type(CONTEXTS), "encode", lambda self, statistics: pytest.fail("coded"))
    words = np.random.default_rng(0).integers(0, 256, 3000).astype("<u1")
    assert coding.encode(words) == ("stored", words.tobytes())


@pytest.mark.parametrize("symbols", [2, 3, 17, 256, 4096])
def test_slots_are_those_of_the_model(symbols: int) -> None:
    """A code of 400 equal words shows how many slots the word has: each costs log2 of the inverse of its share."""
    weights = np.random.default_rng(symbols).integers(1, 5000, symbols)
    slots = stack.slots(weights)
    assert slots.sum() == 1 << 24
    assert slots.min() >= 1
    for symbol in (0, symbols // 2, symbols - 1):
        code = stack.push([(np.full(400, symbol), weights), (np.array([symbols - 1] * 4), weights)])
        assert 8 * len(code) == pytest.approx(400 * (24 - math.log2(slots[symbol])), abs=140)


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
