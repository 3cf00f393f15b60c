"""Compiled loops over magnitudes give what torch gives, for every kind of float of up to four bytes."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.runtime import compiler as compiler_module
from lightning_compress.weights import DeferredTensor, PrunedTensor, chunks, smallest_magnitudes
from lightning_compress.weights.magnitude import Cut, magnitude_keys
from lightning_compress.weights.magnitude.brackets import cut_by_bracket
from lightning_compress.weights.magnitude.smallest import cuts_by_digits

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
        assert cut.after(tensors[0]) == rest
        assert rest.after(tensors[1]) == last
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_weights_are_cut_by_a_bracket_as_by_digits(dtype):
    """One tensor is so small that no step of the sample falls into it; others are pruned, one up to many ties."""
    values = torch.randn(1_500_000, generator=torch.Generator().manual_seed(1)).mul_(0.05).to(dtype)
    values[:5] = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, 1e-45])
    cut = Cut(int(magnitude_keys(torch.tensor([0.25]))), ties=100)
    made = PrunedTensor.of(weights(dtype), cut)
    assert torch.equal(made.detach().view(torch.uint8), cut.zeroed(weights(dtype))[0].view(torch.uint8))
    tensors = [values, weights(dtype)[:7], made, PrunedTensor.of(values, Cut(int(magnitude_keys(values[9:10])), 1))]
    counts = [1, 1000, 255_000, 2_100_000, 3_100_000, 3_200_001]
    cuts = [cut_by_bracket(tensors, count) for count in counts]
    assert all(cut in (None, by_digits) for cut, by_digits in zip(cuts, cuts_by_digits(tensors, counts), strict=True))
    assert any(cut is not None for cut in cuts)


def test_a_bracket_finds_the_cuts_of_weights_without_many_ties():
    values = [torch.randn(5_000_000, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    (cut,) = smallest_magnitudes(values, [1_500_000])
    pruned = [PrunedTensor.of(values[0], cut), values[1], PrunedTensor.of(values[1][:99_999], cut)]
    counts = [2_000_000, 5_000_000, 9_800_000, 10_099_999]
    assert [cut_by_bracket(pruned, count) for count in counts] == cuts_by_digits(pruned, counts)


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(1 << 21),  # all lie within the bracket
        torch.full((1 << 21,), float("inf")),
        torch.randn(1 << 21, dtype=torch.float64),
        torch.randn(1 << 10),
    ],
    ids=["equal", "infinite", "double", "few"],
)
def test_what_a_bracket_does_not_find_is_found_by_digits(values):
    count = len(values) // 3
    assert cut_by_bracket([values], count) is None
    assert smallest_magnitudes([values], [count]) == cuts_by_digits([values], [count])


def test_a_bracket_that_misses_is_noticed():
    """The sample sees only the small weights, because they repeat at its step."""
    values = torch.full((1 << 21,), 8.0).uniform_(4, 8, generator=torch.Generator().manual_seed(2))
    values[:: (1 << 21) >> 18] = torch.linspace(0, 1, 1 << 18)
    assert cut_by_bracket([values], 1 << 20) is None
    assert smallest_magnitudes([values], [1 << 20]) == cuts_by_digits([values], [1 << 20])


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_few_weights_are_cut_by_a_partition_as_by_digits(dtype):
    """Ties, both zeros, NaN and infinity, a part that is pruned, and counts beyond what is finite."""
    values = weights(torch.float32)[:600].to(dtype)
    tensors = [
        values,
        PrunedTensor.of(weights(torch.float32)[600:1000], Cut(int(magnitude_keys(values[9:10].float())), 1)),
    ]
    counts = [0, 1, 2, 3, 250, 500, 996, 997, 998, 1000]
    assert smallest_magnitudes(tensors, counts) == cuts_by_digits(tensors, counts)
