"""16 bits a weight: truncation, nearest even, and exact values for what 16 bits cannot hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress.errors import FormatError, PlanError
from lightning_compress.quantize import Half, HalfPayload, RawPayload
from lightning_compress.runtime import compiler as compiler_module


def patterns():
    """float32 words of every exponent and sign with mantissas at both ends and in between, subnormals included."""
    chance = np.random.default_rng(0)
    mantissas = np.unique(np.r_[0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x10000, 0x18000, 0x7FFFFF,
                                chance.integers(0, 1 << 23, 60)]).astype(np.uint32)  # fmt: skip
    heads = np.arange(512, dtype=np.uint32) << 23
    return (heads[:, None] | mantissas[None, :]).reshape(-1)


def bits(tensor):
    return tensor.contiguous().numpy().view(np.uint32)


def as_float32(words):
    return torch.from_numpy(words.astype(np.uint32).view(np.float32))


def test_truncation_masks_the_low_16_bits_of_every_float32():
    words = patterns()
    restored = bits(Half().store(as_float32(words)).restore())
    masked = words & 0xFFFF0000
    values = words.view(np.float32)
    is_exact = ~np.isfinite(values) | ((masked & 0x7FFFFFFF == 0) & (values != 0))
    assert np.array_equal(restored, np.where(is_exact, words, masked))
    assert is_exact.any()


def test_truncation_of_all_float32_exponents_never_grows_a_magnitude():
    values = as_float32(patterns())
    finite = torch.isfinite(values)
    restored = Half().store(values).restore()
    assert (restored[finite].abs() <= values[finite].abs()).all()


def nearest_bfloat16(words):
    """Round to nearest, ties to even, on the words themselves."""
    wide = words.astype(np.uint64)
    return ((wide + 0x7FFF + ((wide >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)


def test_bfloat16_nearest_even():
    words = patterns()
    values = words.view(np.float32)
    rounded = nearest_bfloat16(words)
    overflows = rounded & 0x7FFFFFFF >= 0x7F800000
    vanishes = (rounded & 0x7FFFFFFF == 0) & (values != 0)
    restored = bits(Half(rounding="nearest").store(as_float32(words)).restore())
    assert np.array_equal(restored, np.where(overflows | vanishes, words, rounded))
    assert (overflows & np.isfinite(values)).any()


def test_float16_nearest_even():
    words = np.concatenate(
        [patterns(), np.float32([65504, 65519.996, 65520, 1e-8, 2**-25, 2**-24, -1e5]).view(np.uint32)]
    )
    values = words.view(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    escapes = ~np.isfinite(rounded) | ((rounded == 0) & (values != 0))
    payload = Half("float16", "nearest").store(as_float32(words))
    assert np.array_equal(bits(payload.restore()), np.where(escapes, words, rounded.view(np.uint32)))
    assert payload.escapes.tolist() == np.flatnonzero(escapes).tolist()


def test_float64_values_beyond_float32_stay_exact():
    values = torch.tensor([1e300, -1e-300, 1.5, float("nan"), 0.0, -0.0, 1 + 2**-40], dtype=torch.float64)
    restored = Half().store(values).restore()
    expected = torch.tensor([1e300, -1e-300, 1.5, float("nan"), 0.0, -0.0, 1.0], dtype=torch.float64)
    assert torch.equal(restored.view(torch.int64), expected.view(torch.int64))


def test_nan_payloads_keep_their_bits():
    words = np.array([0x7F800001, 0xFF8ABCDE, 0x7FFFFFFF, 0x7FC00000], np.uint32)
    for method in (Half(), Half(rounding="nearest"), Half("float16", "nearest")):
        assert np.array_equal(bits(method.store(as_float32(words)).restore()), words)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.complex64])
def test_narrow_and_other_types_are_kept_raw(dtype):
    tensor = torch.tensor([[1, 0], [3, 2]]).to(dtype)
    payload = Half().store(tensor)
    assert isinstance(payload, RawPayload)
    assert torch.equal(payload.restore(), tensor)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (5, 1)])
def test_shapes(shape):
    tensor = torch.full(shape, 1.5)
    restored = Half().store(tensor).restore()
    assert restored.shape == shape
    assert torch.equal(restored, tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "fp16"}, "format 'fp16' is unknown; write one of bfloat16, float16"),
        ({"rounding": "even"}, "rounding 'even' is unknown; write one of truncate, nearest"),
        ({"format": "float16"}, "float16 is rounded to nearest; write rounding='nearest'"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(PlanError, match=message):
        Half(**options)


@pytest.mark.parametrize("gaps", [[3], [0, 2], [1, 1, 0], [2**63], [2**64 - 1]])
def test_escapes_outside_the_tensor_are_refused(gaps):
    streams = {
        "values": np.zeros(3, "<u2"),
        "escape_gaps": np.array(gaps, "<u8"),
        "escape_values": np.zeros(len(gaps), "<u4"),
    }
    with pytest.raises(FormatError, match="in a tensor of 3"):
        HalfPayload.from_streams({"format": "bfloat16", "escapes": len(gaps)}, (3,), torch.float32, streams)


@pytest.mark.parametrize("half", [Half(), Half(rounding="nearest"), Half("float16", "nearest")])
def test_many_values_are_stored_alike_with_and_without_the_compiler(monkeypatch, half):
    values = as_float32(np.tile(patterns(), 5))
    assert len(values) > 1 << 17
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        found.append(half.store(values))
    compiled, plain = found
    assert torch.equal(compiled.halves.view(torch.int16), plain.halves.view(torch.int16))
    assert torch.equal(compiled.escapes, plain.escapes)
    assert len(plain.escapes)
    assert torch.equal(compiled.restore().view(torch.int32), plain.restore().view(torch.int32))
