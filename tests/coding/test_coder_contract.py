"""The contract of every coder: words survive the round trip, and invalid bytes raise a FormatError."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress import coding
from lightning_compress.coding import CODERS, Coder, Statistics
from lightning_compress.coding.coder import MAX_ALPHABET, Words
from lightning_compress.errors import FormatError, VersionError

WIDTHS = (1, 2, 4, 8)
SLOW = ("ans", "contexts", "planes")  # must save some of the bytes
EVERY_CODER = [
    pytest.param(coder, width, id=f"{coder.id}-{width}")
    for coder in CODERS.values()
    for width in WIDTHS
    if coder.id != "huffman" or width == 1
]
ALPHABETS = (2, 3, 16, 17, 255, 256, 257, 258, 4095, 4096, 4097, 65535, 65536, 65537, 65538, 65539, 1 << 31, 1 << 63)


def _accepts(coder: Coder, words: Words) -> bool:
    """Whether a coder can code a stream, even if its lower bound excludes it."""
    if coder.id == "ans":
        return int(words.max()) < MAX_ALPHABET and len(np.unique(words)) > 1
    if coder.id == "contexts":
        return 0 < int(words.max()) < 4096
    if coder.id == "lanes":
        return int(words.max()) > 0
    return coder.id != "huffman" or words.itemsize == 1


def _edge_cases(width: int) -> dict[str, Words]:
    """Streams at the limits of the coders, restricted to words of this width."""
    most = (1 << (8 * width)) - 1
    random = np.random.default_rng(width)
    cases: dict[str, list[int]] = {
        "one zero": [0],
        "one word": [most],
        "constant": [most // 3] * 1000,
        "zeros": [0] * 1000,
        "zeros and one": [0] * 999 + [1],
        "one and zeros": [1] + [0] * 999,
        "all bits": [most, 0] * 50 + [most],
    }
    for alphabet in ALPHABETS:
        if alphabet - 1 <= most:
            middle = [int(word) for word in random.integers(0, alphabet, 700, dtype=np.uint64)]
            cases[f"alphabet of {alphabet}"] = [0, *middle, alphabet - 1]
            cases[f"ends of {alphabet}"] = [0, 0, alphabet - 1, 0, 0, 0, 0, 0, alphabet - 1]
    return {name: np.array(words, f"<u{width}") for name, words in cases.items()}


@st.composite
def _streams(draw: st.DrawFn, width: int) -> Words:
    """Streams of few or many symbols, small or large, even or skewed, some with repetition."""
    bits = draw(st.integers(1, 8 * width))
    symbols = draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=40))
    seed, length = draw(st.integers(0, 1 << 16)), draw(st.integers(1, 400))
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(len(symbols), draw(st.sampled_from([0.05, 1.0, 100.0]))))
    words = np.array(symbols, f"<u{width}")[random.choice(len(symbols), length, p=weights)]
    repeats = draw(st.sampled_from([1, 1, 1, 5]))
    words = np.tile(words, repeats)
    return np.sort(words)[::-1].copy() if draw(st.booleans()) and draw(st.booleans()) else words


@pytest.mark.parametrize(("coder", "width"), EVERY_CODER)
def test_edge_cases_round_trip(coder: Coder, width: int) -> None:
    tried = 0
    for name, words in _edge_cases(width).items():
        if _accepts(coder, words):
            again = coder.decode(memoryview(coder.encode(Statistics(words))), len(words), width)
            assert again.dtype == words.dtype, name
            np.testing.assert_array_equal(again, words, err_msg=name)
            tried += 1
    assert tried > 10


@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_streams_round_trip_and_the_smallest_code_of_a_fast_coder_is_chosen(width: int, data: st.DataObject) -> None:
    words = data.draw(_streams(width))
    statistics = Statistics(words)
    sizes = {}
    for coder in CODERS.values():
        if _accepts(coder, words):
            code = coder.encode(statistics)
            np.testing.assert_array_equal(coder.decode(memoryview(code), len(words), width), words, err_msg=coder.id)
            bound = coder.lower_bound(statistics)
            if bound is not None:
                is_estimate = coder.id == "planes"  # what follows from it is checked below
                assert is_estimate or len(code) >= bound, f"{coder.id} comes below its own lower bound"
                sizes[coder.id] = len(code)
    chosen, code = coding.encode(words)
    if chosen not in SLOW:
        assert len(code) == min(size for name, size in sizes.items() if name not in SLOW)
    assert len(code) <= min(words.nbytes, 1.05 * sizes.get("planes", words.nbytes) + 64)
    np.testing.assert_array_equal(coding.decode(chosen, memoryview(code), len(words), width), words)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_choice_is_never_larger_than_any_fast_coder_or_than_the_words(width: int) -> None:
    for name, words in _edge_cases(width).items():
        chosen, code = coding.encode(words)
        np.testing.assert_array_equal(coding.decode(chosen, memoryview(code), len(words), width), words, err_msg=name)
        statistics = Statistics(words)
        offered = [coder for coder in CODERS.values() if coder.lower_bound(statistics) is not None]
        sizes = {coder.id: len(coder.encode(statistics)) for coder in offered}
        assert len(code) <= min(words.nbytes, *(size for coder, size in sizes.items() if coder not in SLOW)), name
        assert len(code) <= 1.05 * sizes.get("planes", words.nbytes) + 8, name


def test_a_code_below_the_entropy_is_chosen() -> None:
    """Every symbol occurs once, in order: the entropy is 16 bits a word, but byte planes need almost nothing."""
    words = np.arange(1 << 16).astype("<u2")
    assert len(coding.encode(words)[1]) <= len(CODERS["planes"].encode(Statistics(words))) < words.nbytes / 20


def test_equal_words_give_equal_bytes_for_every_memory_layout() -> None:
    words = np.random.default_rng(0).normal(32, 8, 20_000).clip(0, 63).astype("<u1")
    spaced = np.repeat(words, 3)[::3]
    assert not spaced.flags.c_contiguous
    assert coding.encode(spaced) == coding.encode(words) == coding.encode(words.copy())


def test_huffman_codes_only_words_of_one_byte() -> None:
    code = CODERS["huffman"].encode(Statistics(np.arange(200, dtype=np.uint8)))
    with pytest.raises(FormatError, match="words of 2"):
        CODERS["huffman"].decode(memoryview(code), 100, 2)


def test_an_unknown_coder_raises_a_version_error() -> None:
    with pytest.raises(VersionError, match=r"'wavelet'.*stored, packed"):
        coding.decode("wavelet", memoryview(b""), 1, 1)


def _decode_or_refuse(coder: Coder, data: bytes, count: int, width: int) -> None:
    """Damaged data decodes to words of the right number and width, or raises a FormatError."""
    try:
        words = coder.decode(memoryview(data), count, width)
    except FormatError:
        return
    assert words.shape == (count,)
    assert words.dtype == np.dtype(f"<u{width}")


def _sound_code(coder: Coder, width: int) -> tuple[bytes, int]:
    """A valid code to damage; wide words have 257 symbols, so that every kind of table occurs."""
    words = (
        np.random.default_rng(7).normal(60, 25, 300).clip(0, 4 if coder.id == "packed" else 250).astype(f"<u{width}")
    )
    if width > 1 and coder.id != "packed":
        words[::17] += 5000
    return coder.encode(Statistics(words)), len(words)


@pytest.mark.parametrize(("coder", "width"), EVERY_CODER)
def test_every_truncation_and_extension_is_refused(coder: Coder, width: int) -> None:
    code, count = _sound_code(coder, width)
    for length in range(len(code)):
        if coder.id in (
            "ans",
            "contexts",
            "lanes",
        ):  # a shorter code may still tell as many symbols: the checksum of the stream stands above
            _decode_or_refuse(coder, code[:length], count, width)
        else:
            with pytest.raises(FormatError):
                coder.decode(memoryview(code[:length]), count, width)
    with pytest.raises(FormatError):
        coder.decode(memoryview(code + b"\1" * 16), count, width)


@pytest.mark.parametrize(("coder", "width"), EVERY_CODER)
def test_flipped_bytes_never_raise_anything_but_a_format_error(coder: Coder, width: int) -> None:
    code, count = _sound_code(coder, width)
    random = np.random.default_rng(width)
    for position in range(len(code)):
        for flip in (1, 0x80, 0xFF, int(random.integers(1, 256))):
            damaged = bytearray(code)
            damaged[position] ^= flip
            _decode_or_refuse(coder, bytes(damaged), count, width)
    for wrong_count in (1, count - 1, count + 1, 7 * count):
        _decode_or_refuse(coder, code, wrong_count, width)


@pytest.mark.parametrize(("coder", "width"), EVERY_CODER)
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(data=st.binary(max_size=80), count=st.integers(0, 300))
def test_any_bytes_decode_or_raise_a_format_error(coder: Coder, width: int, data: bytes, count: int) -> None:
    _decode_or_refuse(coder, data, count, width)


BOMBS = {
    "zstd frame that announces 4 GiB": ("zstd", bytes.fromhex("28b52ffda0ffffffff") + b"\x03\x00\x00\x01"),
    "zstd frame of unknown size": ("zstd", bytes.fromhex("28b52ffd0058") + b"\x03\x00\x00\x01"),
    "deflate of a megabyte of zeros": ("huffman", None),
    "ans table of 2^56 symbols": ("ans", b"\x00" + b"\xff" * 7 + b"\x7f"),
    "ans table of 2^56 deflated bytes": ("ans", b"\x02\x05" + b"\xff" * 7 + b"\x7f" + b"x" * 9),
    "ans table of 65538 symbols in no bytes": ("ans", b"\x00\x82\x80\x04"),
    "ans table of 65539 symbols": ("ans", b"\x02\x83\x80\x04\x02\x03\x00"),
    "a number without an end": ("ans", b"\x00" + b"\xff" * 40),
    "plane of 2^56 bytes": ("planes", b"\x00\x00" + b"\xff" * 7 + b"\x7f"),
    "plane in planes": ("planes", b"\x00\x07\x01\x00"),
    "packed in 255 bits": ("packed", b"\xff" + b"\xff" * 100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_memory(name: str) -> None:
    coder, data = BOMBS[name]
    if data is None:
        data = CODERS["huffman"].encode(Statistics(np.zeros(1 << 20, np.uint8)))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            CODERS[coder].decode(memoryview(data), 1000, 1)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_ans_table_that_inflates_beyond_its_symbols_is_refused() -> None:
    bomb = CODERS["huffman"].encode(Statistics(np.ones(1 << 20, np.uint8)))
    length = bytes([len(bomb) & 0x7F | 0x80, len(bomb) >> 7 & 0x7F | 0x80, len(bomb) >> 14])
    with pytest.raises(FormatError, match="table"):
        CODERS["ans"].decode(memoryview(b"\x02\x05" + length + bomb), 1000, 1)


@pytest.mark.parametrize("code", [(32 << 8) + 1, (1 << 16) - 1])
def test_an_ans_weight_larger_than_any_count_is_refused(code: int) -> None:
    with pytest.raises(FormatError, match="larger than any count"):
        CODERS["ans"].decode(memoryview(b"\x01\x02" + code.to_bytes(2, "little") + b"\x01\x00\x01"), 10, 1)


def test_an_ans_code_that_ends_in_a_zero_word_is_refused() -> None:
    code = CODERS["ans"].encode(Statistics(np.array([0, 1, 1, 0, 1] * 40, np.uint8)))
    with pytest.raises(FormatError, match="zero word"):
        CODERS["ans"].decode(memoryview(code + bytes(8)), 200, 1)
