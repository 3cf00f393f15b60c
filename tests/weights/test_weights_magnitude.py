"""The k smallest magnitudes against a stable sort: every float type, ties, zeros, NaN and infinity, any count."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_map_only

from lightning_compress.weights import Cut, chunks, smallest_magnitudes
from lightning_compress.weights.magnitude import key_of, magnitude_keys, smallest

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def reference(tensors, count):
    """Which of the joined weights are the ``count`` smallest finite ones, the earlier first among equals."""
    joined = np.concatenate([tensor.double().reshape(-1).numpy() for tensor in tensors])
    sizes = np.where(np.isfinite(joined), np.abs(joined), np.inf)
    order = np.argsort(sizes, kind="stable")[: min(count, int(np.isfinite(joined).sum()))]
    chosen = np.zeros(len(joined), bool)
    chosen[order] = True
    return chosen


def chosen_by(cut, tensors):
    parts = []
    for tensor in tensors:
        for chunk in chunks(tensor):
            part, cut = cut.split(chunk)
            parts.append(part.numpy())
    return np.concatenate(parts)


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 299, 1500, 2699, 2700])
def test_each_float_type(dtype, count):
    tensors = [normal(30, 40, dtype=dtype), normal(1500, dtype=dtype, seed=1)]
    (cut,) = smallest_magnitudes(tensors, [count])
    assert np.array_equal(chosen_by(cut, tensors), reference(tensors, count))


def test_many_counts_at_once():
    tensors = [normal(777), normal(111, seed=3)]
    counts = [888, 0, 5, 5, 400]
    for cut, count in zip(smallest_magnitudes(tensors, counts), counts, strict=True):
        assert np.array_equal(chosen_by(cut, tensors), reference(tensors, count))


def test_a_million_weights_in_several_chunks():
    tensors = [normal(1000, 1000), normal(300_000, seed=1) * 10]
    for cut, count in zip(smallest_magnitudes(tensors, [150_000, 1_234_567]), [150_000, 1_234_567], strict=True):
        assert np.array_equal(chosen_by(cut, tensors), reference(tensors, count))


def test_mixed_types_are_ranked_by_value():
    tensors = [normal(500, dtype=dtype, seed=seed) for seed, dtype in enumerate(DTYPES)]
    for count in (1, 700, 1999):
        (cut,) = smallest_magnitudes(tensors, [count])
        assert np.array_equal(chosen_by(cut, tensors), reference(tensors, count))


def test_float64_magnitudes_that_are_equal_in_float32():
    tensor = 1 + torch.arange(100, dtype=torch.float64).flip(0) * 1e-15
    (cut,) = smallest_magnitudes([tensor], [37])
    assert np.array_equal(chosen_by(cut, [tensor]), reference([tensor], 37))


@pytest.mark.parametrize("count", [0, 1, 10, 299_999, 600_000])
def test_equal_magnitudes_are_selected_in_order_across_chunks(count):
    tensors = [torch.full((500, 800), -0.5), torch.full((200_000,), 0.5)]
    (cut,) = smallest_magnitudes(tensors, [count])
    assert np.array_equal(chosen_by(cut, tensors), np.arange(600_000) < count)


def test_both_zeros_and_subnormals_come_first():
    tensor = torch.tensor([1e-45, -0.0, 2.0, 0.0, -1e-45, 1e-40])
    (cut,) = smallest_magnitudes([tensor], [3])
    assert chosen_by(cut, [tensor]).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_are_never_selected(dtype):
    tensor = torch.tensor([float("nan"), 3, float("-inf"), -1, float("inf"), -float("nan"), 0], dtype=dtype)
    for count in range(8):
        (cut,) = smallest_magnitudes([tensor], [count])
        assert np.array_equal(chosen_by(cut, [tensor]), reference([tensor], count))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_without_finite_values_nothing_is_selected(value, dtype):
    tensor = torch.full((9,), value, dtype=dtype)
    (cut,) = smallest_magnitudes([tensor], [5])
    assert cut.ties == 0
    assert not chosen_by(cut, [tensor]).any()


def test_a_cut_that_is_not_empty_has_a_tie_and_a_threshold():
    tensor = normal(1000)
    (cut,) = smallest_magnitudes([tensor], [250])
    assert cut.ties == 1
    assert cut.magnitude == float(tensor.abs().sort().values[249])


def test_empty_tensors():
    assert smallest_magnitudes([torch.empty(0)], [0]) == [Cut(0)]
    assert smallest_magnitudes([torch.empty(0), torch.empty(3, 0)], [4]) == [Cut(0)]


def test_non_contiguous_tensors_are_read_in_the_order_of_their_elements():
    tensor = normal(40, 50).t()
    (cut,) = smallest_magnitudes([tensor], [700])
    assert np.array_equal(chosen_by(cut, [tensor]), reference([tensor], 700))


@given(
    st.lists(st.lists(st.floats(width=32), max_size=30), min_size=1, max_size=4),
    st.integers(0, 130),
)
def test_any_floats_and_any_count(values, count):
    tensors = [torch.tensor(part, dtype=torch.float32) for part in values]
    count = min(count, sum(map(len, values)))
    (cut,) = smallest_magnitudes(tensors, [count])
    assert np.array_equal(chosen_by(cut, tensors), reference(tensors, count))


@given(st.lists(st.floats(), max_size=40), st.integers(0, 40))
def test_any_float64_and_any_count(values, count):
    tensors = [torch.tensor(values, dtype=torch.float64)]
    (cut,) = smallest_magnitudes(tensors, [min(count, len(values))])
    assert np.array_equal(chosen_by(cut, tensors), reference(tensors, min(count, len(values))))


@given(st.floats(0, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_a_key_separates_weights_like_the_number_it_is_made_of(bound, weight):
    below = bool(magnitude_keys(torch.tensor([weight])) < key_of(bound))
    assert below == (abs(weight) < bound)


class Elsewhere(torch.Tensor):
    """A tensor on a device that is not the CPU; it records how many elements are copied to the host."""

    copied: ClassVar[list[int]] = []

    @staticmethod
    def __new__(cls, values):
        made = torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device="meta")
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        plain, given = tree_map_only(Elsewhere, lambda tensor: tensor.values, (args, dict(kwargs or {})))
        to_host = func is torch.ops.aten._to_copy.default and given.get("device") == torch.device("cpu")
        if to_host:
            cls.copied.append(plain[0].numel())
        result = func(*plain, **given)
        return result if to_host else tree_map_only(torch.Tensor, Elsewhere, result)


def test_of_an_accelerator_only_histograms_are_copied_to_the_host(monkeypatch):
    monkeypatch.setattr(smallest, "_DEVICE_CHUNK", 700)
    tensors = [normal(50, 40), normal(300, seed=1)]
    counts = [0, 700, 2300]
    Elsewhere.copied.clear()
    assert smallest_magnitudes([Elsewhere(tensor) for tensor in tensors], counts) == smallest_magnitudes(
        tensors, counts
    )
    assert set(Elsewhere.copied) == {1 << 16}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuts_are_equal_on_a_cuda_device():
    for dtype in DTYPES:
        tensors = [normal(3000, 400, dtype=dtype), normal(1500, dtype=dtype, seed=1)]
        counts = [0, 1, 300_000, 1_201_500]
        assert smallest_magnitudes([tensor.cuda() for tensor in tensors], counts) == smallest_magnitudes(
            tensors, counts
        )
