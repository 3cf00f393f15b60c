"""Compiled loops over magnitudes give what torch gives, for every kind of float of up to four bytes."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.runtime import compiler as compiler_module
from lightning_compress.weights import DeferredTensor, chunks, smallest_magnitudes
from lightning_compress.weights.magnitude import Cut, magnitude_keys

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def weights(dtype):
    """More than the compiled loops need, with many equal magnitudes, both zeros, NaN and infinity."""
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    values[::3] = (values[::3] * 8).round() / 8
    values[:6] = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45])
    return values.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_cuts_and_what_they_choose_do_not_depend_on_the_compiler(monkeypatch, dtype, share):
    tensors = [weights(dtype), weights(dtype).flip(0)]
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        (cut,) = smallest_magnitudes(tensors, [int(share * 400_000)])
        first, rest = cut.split(tensors[0])
        second, last = rest.split(tensors[1])
        left, after = cut.zeroed(tensors[0])
        found.append((cut, first, rest, second, last, left.view(torch.int16), after))
    for with_compiler, without in zip(*found, strict=True):
        assert with_compiler == without if isinstance(without, Cut) else torch.equal(with_compiler, without)
    finite = int(torch.cat(tensors).isfinite().sum())
    assert int(found[0][1].sum() + found[0][3].sum()) == min(int(share * 400_000), finite)


def test_ties_are_chosen_from_the_front():
    tied = torch.ones(200_000)
    chosen, rest = Cut(int(magnitude_keys(tied[:1])), ties=123).split(tied)
    assert chosen[:123].all()
    assert not chosen[123:].any()
    assert rest.ties == 0


@pytest.mark.parametrize("compiler", [True, False])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_what_belongs_to_a_cut_becomes_positive_zeros_and_the_rest_stays(monkeypatch, dtype, compiler):
    monkeypatch.setattr(compiler_module, "has_compiler", lambda: compiler)
    values = weights(dtype)
    (cut,) = smallest_magnitudes([values], [150_000])
    chosen, rest = cut.split(values)
    left, after = cut.zeroed(values)
    assert int(chosen.sum()) == 150_000
    assert after == rest
    assert not left[chosen].view(torch.uint8).any()
    assert torch.equal(left[~chosen].view(torch.uint8), values[~chosen].view(torch.uint8))


def test_values_of_a_deferred_tensor_come_in_its_parts():
    parts = [weights(torch.float32)[:1000], weights(torch.float32)[1000:1500]]
    whole = DeferredTensor(lambda: torch.cat(parts), torch.float32, (1500,), (1,), parts=lambda: iter(parts))
    assert [chunk.data_ptr() for chunk in chunks(whole)] == [part.data_ptr() for part in parts]
    assert smallest_magnitudes([whole], [700]) == smallest_magnitudes([whole.detach()], [700])
