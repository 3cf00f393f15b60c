"""The entropy coders against the reference decoder of docs/format.md, on more streams than golden files can hold."""

from __future__ import annotations

import itertools
import zlib

import constriction
import numpy as np
import pytest
from each_case import naming
from reference import reader as reference_reader

from lightning_compress.coding import CODERS, Statistics, ans_stack, decode, encode
from lightning_compress.coding.coder import Words
from lightning_compress.coding.models.adaptive import Blocks
from lightning_compress.coding.models.adaptive_fit import read_model

ALPHABETS = (2, 3, 17, 66, 255, 256, 257, 4096, 4097, 65538)


def _stream(shape: str, count: int, alphabet: int) -> Words:
    random = np.random.default_rng([count, alphabet])
    drawn = {
        "uniform": random.integers(0, alphabet, count),
        "normal": random.normal(alphabet / 2, alphabet / 9, count).clip(0, alphabet - 1),
        "zipf": (random.zipf(1.4, count) - 1).clip(0, alphabet - 1),
    }[shape]
    return drawn.astype("<u1" if alphabet <= 256 else "<u2" if alphabet <= 65536 else "<u4")


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("shape", ["uniform", "normal", "zipf"])
def test_ans_agrees_with_the_specification(shape: str, alphabet: int) -> None:
    for count in (2, 11, 300, 5000):
        words = _stream(shape, count, alphabet)
        if len(np.unique(words)) > 1:
            code = CODERS["ans"].encode(Statistics(words))
            np.testing.assert_array_equal(reference_reader.decode("ans", code, count, words.itemsize), words)


@pytest.mark.parametrize("alphabet", [2, 3, 17, 66, 256, 700])
@pytest.mark.parametrize("shape", ["uniform", "normal", "zipf"])
def test_contexts_agrees_with_the_specification(shape: str, alphabet: int) -> None:
    for groups in ((), (0, 1, 64), (65, 0, 700, 3), (63, 129, 300, 1000)):
        count = sum(groups) or 500
        words = _stream(shape, count, alphabet)
        if words.any():
            code = CODERS["contexts"].encode(Statistics(words, groups))
            again = reference_reader.decode("contexts", code, count, words.itemsize, groups)
            np.testing.assert_array_equal(again, words)


def test_lanes_of_no_words() -> None:
    one_lane, table_of_one_symbol = bytes([0]), bytes([0, 1, 1])
    code = one_lane + table_of_one_symbol
    assert len(decode("lanes", memoryview(code), 0, 1, ())) == 0
    assert len(reference_reader.decode("lanes", code, 0, 1)) == 0


@pytest.mark.parametrize("alphabet", [2, 17, 256, 700, 4096])
@pytest.mark.parametrize("shape", ["uniform", "normal", "zipf"])
def test_lanes_agrees_with_the_specification(shape: str, alphabet: int) -> None:
    for groups in ((), (0, 1, 64), (65, 0, 700, 3), (63, 129, 300, 1000)):
        count = sum(groups) or 500
        words = _stream(shape, count, alphabet)
        if words.any():
            code = CODERS["lanes"].encode(Statistics(words, groups))
            again = reference_reader.decode("lanes", code, count, words.itemsize, groups)
            np.testing.assert_array_equal(again, words)


def test_lanes_of_wide_words_agree_with_the_specification() -> None:
    integers = np.abs(np.random.default_rng(4).normal(0, 2e5, 700)).astype("<u4")
    code = CODERS["lanes"].encode(Statistics(integers))
    assert code[1] < 128, "integers are not rotated"
    np.testing.assert_array_equal(reference_reader.decode("lanes", code, 700, 4), integers)
    for dtype in ("<f2", "<f4", "<f8"):
        words = np.random.default_rng(3).normal(0, 0.05, 700).astype(dtype).view(dtype.replace("f", "u"))
        code = CODERS["lanes"].encode(Statistics(words))
        np.testing.assert_array_equal(reference_reader.decode("lanes", code, 700, words.itemsize), words)


def test_every_adaptive_model_is_read_as_specified() -> None:
    """Including shapes, heights and scales that the writer does not try."""
    for first in range(256):
        with naming(first):
            _check_model(first)


def _check_model(first: int) -> None:
    random = np.random.default_rng(first)
    center, lengths = int(random.integers(0, 12)), (200, 150)
    header = bytes([first, 9, center])
    scales = random.integers(0, 256, 2)
    groups = [random.integers(0, 11, length).astype("<u1") for length in lengths]
    weights = Blocks.of(groups, 11).weights(read_model(memoryview(header), 1)[0], scales)
    pieces = [group[start:end] for group in groups for start, end in ((0, 64), (64, 128), (128, 256))]
    code = header + bytes(scales.tolist()) + ans_stack.push(list(zip(pieces, weights, strict=True)))
    words = np.concatenate(groups)
    np.testing.assert_array_equal(CODERS["contexts"].decode(memoryview(code), 350, 1, lengths), words)
    np.testing.assert_array_equal(reference_reader.decode("contexts", code, 350, 1, lengths), words)


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("shape", ["uniform", "normal", "zipf"])
def test_chosen_codes_read_as_specified(shape: str, alphabet: int) -> None:
    for count in (1, 50, 2000):
        words = _stream(shape, count, alphabet)
        coder, code = encode(words)
        np.testing.assert_array_equal(reference_reader.decode(coder, code, count, words.itemsize), words)


@pytest.mark.parametrize(
    ("coder", "width"), list(itertools.product(["packed", "planes", "zstd", "stored"], [1, 2, 4, 8]))
)
def test_wide_words_read_as_specified(coder: str, width: int) -> None:
    random = np.random.default_rng(width)
    for bits in range(1, 8 * width + 1):
        words = (random.integers(0, 1 << 63, 37, dtype=np.uint64) >> np.uint64(63 - min(bits, 63))).astype(f"<u{width}")
        code = CODERS[coder].encode(Statistics(words))
        np.testing.assert_array_equal(reference_reader.decode(coder, code, 37, width), words)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("packing", [0, 1, 2])
@pytest.mark.parametrize("alphabet", [40, 300, 5000])
def test_every_ans_table_of_the_specification_is_read(kind: int, packing: int, alphabet: int) -> None:
    """Tables made by hand, including those that the writer chooses only for streams of millions of words."""
    mantissa = (3, 8)[kind]
    entries = np.random.default_rng(alphabet).integers(1, 20 << mantissa, alphabet) % (256 if kind == 0 else 65536)
    entries[::3] = 0
    table = entries.astype(f"<u{1 + kind}")
    packed = table.tobytes()
    if packing == 2:
        packed = np.diff(table, prepend=table[:1] * 0).view(np.uint8).reshape(-1, 1 + kind).T.tobytes()
    if packing:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = deflate.compress(packed) + deflate.flush()
    header = bytes([kind | packing << 1]) + _leb128(alphabet) + (_leb128(len(packed)) if packing else b"")

    weights = np.array(
        [((1 << mantissa) + (c - 1) % (1 << mantissa)) << ((c - 1) >> mantissa) if c else 0 for c in entries]
    )
    present = np.flatnonzero(weights)
    numbered = np.arange(alphabet) if alphabet <= 4096 else present
    symbols = np.random.default_rng(kind).choice(len(numbered), 700).astype(np.int32)
    coder = constriction.stream.stack.AnsCoder()
    model = constriction.stream.model.Categorical(weights[numbered].astype(np.float64), perfect=False)
    coder.encode_reverse(symbols, model)
    code = header + packed + coder.get_compressed().tobytes().rstrip(b"\0")

    words = numbered[symbols]
    np.testing.assert_array_equal(CODERS["ans"].decode(memoryview(code), 700, 2), words)
    np.testing.assert_array_equal(reference_reader.decode("ans", code, 700, 2), words)


def _leb128(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _leb128(value >> 7)
