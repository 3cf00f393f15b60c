"""The coder ``lanes``: its models, its forms, its loops with and without a compiler, and damaged streams."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from each_case import naming
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.coding import CODERS, Statistics, encode
from lightning_compress.coding.coder import Words
from lightning_compress.coding.lanes import array_loops, code, compiled_loops, low_bits
from lightning_compress.coding.lanes.code import Layout
from lightning_compress.coding.models import adaptive, model_fit
from lightning_compress.errors import FormatError

LANES = CODERS["lanes"]


def laplace(scale: float, count: int, seed: int = 0) -> Words:
    """Laplacian numbers in zigzag: 0, −1, 1, −2 … as 0, 1, 2, 3 …"""
    values = np.rint(np.random.default_rng(seed).laplace(0, scale, count)).astype(int)
    return np.where(values >= 0, 2 * values, -2 * values - 1).clip(0, 255).astype("<u1")


def grouped() -> tuple[Words, tuple[int, ...]]:
    """Groups of widening distributions."""
    groups = [laplace(scale, 40_000, seed) for seed, scale in enumerate((0.3, 0.8, 2, 6))]
    return np.concatenate(groups), tuple(map(len, groups))


def forms() -> dict[str, tuple[Words, tuple[int, ...]]]:
    """Streams for every form of the code."""
    floats = np.random.default_rng(1).normal(0, 0.04, 30_000).astype("<f4").view("<u4")
    return {
        "one lane": (laplace(1.0, 3000), ()),
        "table": (laplace(1.0, 300_000), ()),
        "limited groups": grouped(),
        "float32": (floats, ()),
        "bfloat16": ((floats >> np.uint32(16)).astype("<u2"), ()),
        "constant end": (np.repeat(laplace(1.0, 200), [1] * 199 + [500]), ()),
    }


def test_every_form_is_written_and_read() -> None:
    firsts = {}
    for name, (words, groups) in forms().items():
        with naming(name):
            data = LANES.encode(Statistics(words, groups))
            firsts[name] = data[0]
            again = LANES.decode(memoryview(data), len(words), words.itemsize, groups)
            assert again.dtype == words.dtype
            np.testing.assert_array_equal(again, words)
    assert {name for name, first in firsts.items() if first & 7} >= {"table", "limited groups"}
    assert {name for name, first in firsts.items() if first & 8} == {"float32", "bfloat16"}
    assert {name for name, first in firsts.items() if first & 64} == {"one lane", "limited groups", "constant end"}
    assert {name for name, first in firsts.items() if first & 128} == {"limited groups"}


def test_the_code_is_close_to_the_entropies_of_the_groups() -> None:
    words, lengths = grouped()
    parts = np.split(words, np.cumsum(lengths)[:-1])
    entropy = sum(Statistics(part).entropy_bytes for part in parts)
    chosen, data = encode(words, lengths)
    assert chosen == "lanes"
    assert len(data) <= 1.001 * entropy + 40
    assert len(data) <= 1.001 * len(CODERS["contexts"].encode(Statistics(words, lengths)))
    long = laplace(1.0, 300_000)
    assert len(LANES.encode(Statistics(long))) <= 1.001 * Statistics(long).entropy_bytes + 30


@pytest.mark.parametrize("count", [20_000, 100_000])
def test_bfloat16_words_take_fewer_bytes_than_in_planes_or_with_a_table_of_all_words(count: int) -> None:
    words = (np.random.default_rng(2).normal(0, 0.04, count).astype("<f4").view("<u4") >> np.uint32(16)).astype("<u2")
    sizes = {name: len(CODERS[name].encode(Statistics(words))) for name in ("lanes", "planes", "ans")}
    assert min(sizes, key=lambda name: sizes[name]) == "lanes"


def test_loops_without_a_compiler_give_the_same_codes_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {name: (words[:9000], ()) for name, (words, _) in forms().items()}
    short["groups"] = (grouped()[0][-9000:], (100, 0, 5900, 3000))
    codes = {name: LANES.encode(Statistics(*stream)) for name, stream in short.items()}
    for module in (code, low_bits, adaptive, model_fit):
        monkeypatch.setattr(module, "has_compiler", lambda: False)
    assert code._loops() is array_loops
    for name, (words, groups) in short.items():
        with naming(name):
            assert LANES.encode(Statistics(words, groups)) == codes[name]
            again = LANES.decode(memoryview(codes[name]), len(words), words.itemsize, groups)
            np.testing.assert_array_equal(again, words)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_both_loops_code_every_number_of_lanes(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols, weights = laplace(1.0, 1000 + lanes // 2), np.array([[50, 20, 20, 6, 6, *[2] * 40]])
    ends, lengths = np.array([len(symbols)]), np.array([len(symbols)])
    found = []
    for loops in (compiled_loops, array_loops):
        monkeypatch.setattr(code, "_loops", lambda loops=loops: loops)
        for precision in (12, 14, 15):
            layout, again = Layout(lanes, precision), np.empty_like(symbols)
            data = code.encode(symbols, ends, weights, layout)
            code.decode(memoryview(data), layout, weights, None, lengths, again)
            np.testing.assert_array_equal(again, symbols)
            found.append(data)
    assert found[:3] == found[3:]


def test_bits_in_slots_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols, weights = laplace(1.0, 100_000), np.array([[50, 20, 20, 6, 6, *[2] * 40], [40, 30, 30, 9, 9, *[1] * 40]])
    ends = np.array([30_000, len(symbols)])
    seen = np.stack([np.bincount(part, minlength=45) for part in np.split(symbols, ends[:1])])
    for precision in (14, 15):
        found = []
        for compiler in (True, False):
            monkeypatch.setattr(code, "has_compiler", lambda compiler=compiler: compiler)
            found.append(code._bits(seen, weights, precision))
        assert found[0] == pytest.approx(found[1])
        assert found[0] / 8 == pytest.approx(len(code.encode(symbols, ends, weights, Layout(32, precision))), rel=0.003)


@settings(max_examples=200)
@given(
    weights=st.lists(st.one_of(st.integers(0, 3), st.integers(0, 1 << 40)), min_size=2, max_size=200).filter(any),
    precision=st.integers(12, 15),
)
def test_slots_are_shared_in_proportion_and_alike_by_both_loops(weights: list[int], precision: int) -> None:
    array = np.array(weights)
    first = array_loops.divide_slots(array, precision)
    compiled = np.empty(len(weights) + 1, np.uint16)
    compiled_loops.divide_slots(array, precision, compiled)
    np.testing.assert_array_equal(first, compiled)
    slots = np.diff(first.astype(np.int64))
    assert first[0] == 0
    assert first[-1] == 1 << precision
    assert ((slots > 0) == (array > 0)).all()
    share = array / array.sum() * 2**precision
    assert (slots[share >= 2] >= 0.9 * share[share >= 2] - 1).all()


@settings(max_examples=150)
@given(
    scale=st.sampled_from([0.05, 0.3, 1.0, 8.0, 60.0]),
    count=st.integers(1, 4000),
    end=st.sampled_from([0, 1, 3, 300]),
    seed=st.integers(0, 99),
)
def test_no_code_is_shorter_than_its_bound(scale: float, count: int, end: int, seed: int) -> None:
    """The end of a stream is where one lane may code words for nothing."""
    words = np.concatenate([laplace(scale, count, seed), np.full(end, seed % 3, "<u1")])
    statistics = Statistics(words)
    bound = LANES.lower_bound(statistics)
    assert (bound is None) == (not words.any())
    if bound is not None:
        data = LANES.encode(statistics)
        assert bound <= len(data)
        np.testing.assert_array_equal(LANES.decode(memoryview(data), len(words), 1), words)


def test_heads_that_no_encoder_writes_are_refused_in_little_memory() -> None:
    words = laplace(1.0, 3000)
    sound = LANES.encode(Statistics(words))
    table = LANES.encode(Statistics(laplace(1.0, 300_000)))
    heads = {
        "nothing": b"",
        "64 lanes": bytes([sound[0] | 6]) + sound[1:],
        "limits without groups": bytes([table[0] | 128]) + table[1:],
        "low bits of a whole word": bytes([0x28, 8]) + sound[1:],
        "low bits that are missing": bytes([0x28, 7]) + table[1:60],
        "too many symbols for the slots": b"\x40\x31\xff\x1f\x00\x40\x01",
        "a table without symbols": b"\x20\x00\x02\x00\x00\x01",
        "a table of 2^56 symbols": b"\x20\x00" + b"\xff" * 7 + b"\x7f",
        "a limit that does not end": bytes([sound[0] | 128]) + sound[1:5] + b"\xff" * 12,
        "a zero word at the end": sound + b"\0\0" + b"\0" * (len(sound) % 2),
        "more words": sound + b"\1" * 8,
    }
    tracemalloc.start()
    try:
        for name, data in heads.items():
            with naming(name), pytest.raises(FormatError):
                LANES.decode(memoryview(data), 3000, 1)
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("groups", [(100,), (50, 51), (150, -49), (-49, 150), (1,) * 257])
def test_groups_that_are_not_those_of_the_stream_are_refused(groups: tuple[int, ...]) -> None:
    data = LANES.encode(Statistics(laplace(1.0, 101)))
    with pytest.raises(FormatError):
        LANES.decode(memoryview(data), 101, 1, groups)
