"""Trellises and the search through them, against every path of small matrices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress.quantize.grid.trellis.rates import Rates, measured_rates
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, indices_of, points_of
from lightning_compress.quantize.grid.trellis.viterbi import trellis_points


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_points(indices, lags):
    """One row, one index at a time, from the definition."""
    quantizers, points = [0], []
    for index in indices:
        points.append(2 * index - (index > 0) * quantizers[-1] + (index < 0) * quantizers[-1])
        before = [0] * 8 + quantizers
        quantizers.append((index + sum(before[-1 - lag] for lag in lags)) % 2)
    return points, quantizers[:-1]


def best_by_hand(weights, lags, cost):
    """The least cost of a row over all indices near its weights."""
    best = math.inf
    for indices in itertools.product(range(-3, 4), repeat=len(weights)):
        points, quantizers = reference_points(indices, lags)
        best = min(
            best,
            sum((w - x) ** 2 + cost(k, q) for w, x, k, q in zip(weights, points, indices, quantizers, strict=True)),
        )
    return best


def cost_of(weights, points, trellis, cost=lambda index, quantizer: 0):
    columns = points.numpy().T
    indices = indices_of(columns)
    quantizers = trellis.quantizers(indices)
    assert np.array_equal(points_of(indices, quantizers), columns), "the points lie on a path"
    bits = sum(cost(int(k), int(q)) for k, q in zip(indices.reshape(-1), quantizers.reshape(-1), strict=True))
    return float((weights.double() - points.double()).square().sum()) + bits


def test_a_longer_memory_is_never_worse():
    weights = normal(300, 150, seed=11) * 2.5
    errors = [float((trellis_points(weights, t) - weights).square().mean()) for t in TRELLISES.values()]
    assert errors == sorted(errors, reverse=True)


def test_four_states_are_those_of_dependent_scalar_quantization():
    assert TRELLISES[4].following == ((0, 2), (2, 0), (1, 3), (3, 1))
    assert TRELLISES[4].quantizer == (0, 0, 1, 1)


@pytest.mark.parametrize("trellis", TRELLISES.values(), ids=TRELLISES)
class TestTrellis:
    def test_states_and_quantizer_numbers_agree(self, trellis):
        chance = np.random.default_rng(0)
        indices = chance.integers(-5, 6, (60, 7)).astype(np.int16)
        quantizers = trellis.quantizers(indices)
        for row in range(7):
            _, expected = reference_points(indices[:, row].tolist(), trellis.lags)
            assert quantizers[:, row].tolist() == expected
            state = 0
            for index, quantizer in zip(indices[:, row].tolist(), expected, strict=True):
                assert trellis.quantizer[state] == quantizer
                state = trellis.following[state][index % 2]

    def test_every_state_is_reached_from_two_with_other_labels(self, trellis):
        before, labels = trellis.arrivals
        for state in range(trellis.states):
            assert all(state in trellis.following[came] for came in before[:, state])
            assert len({*zip(before[:, state].tolist(), labels[:, state].tolist(), strict=True)}) == 2

    def test_indices_and_points(self, trellis):
        chance = np.random.default_rng(1)
        indices = chance.integers(-900, 900, (20, 5)).astype(np.int16)
        quantizers = trellis.quantizers(indices)
        points = points_of(indices, quantizers)
        expected = [reference_points(column.tolist(), trellis.lags)[0] for column in indices.T]
        assert points.T.tolist() == expected
        assert np.array_equal(indices_of(points), indices)

    @pytest.mark.parametrize("scale", [0.3, 1, 1.8])
    def test_no_path_is_nearer(self, trellis, scale):
        weights = normal(12, 4, seed=3) * scale
        found = cost_of(weights, trellis_points(weights, trellis), trellis)
        best = sum(best_by_hand(row.tolist(), trellis.lags, lambda index, quantizer: 0) for row in weights)
        assert found == pytest.approx(best, rel=1e-5)

    def test_no_path_is_cheaper_where_bits_count(self, trellis):
        weights = normal(12, 4, seed=4) * 1.5
        bits = np.array([[[0.5, 2, 4, 5]], [[1.5, 1, 3, 6]]], np.float32).reshape(1, 2, 4)

        def cost(index, quantizer):
            return 0.4 * float(bits[0, quantizer, min(abs(index), 3)])

        found = cost_of(weights, trellis_points(weights, trellis, Rates(bits, 0.4)), trellis, cost)
        best = sum(best_by_hand(row.tolist(), trellis.lags, cost) for row in weights)
        assert found == pytest.approx(best, rel=1e-5)

    def test_weights_that_are_to_be_zero_are(self, trellis):
        weights = normal(30, 50, seed=5) * 3
        zeros = torch.rand(30, 50, generator=torch.Generator().manual_seed(6)) < 0.6
        points = trellis_points(weights.masked_fill(zeros, 0), trellis, zeros=zeros)
        assert not points[zeros].any()
        assert float((points - weights)[~zeros].abs().mean()) < 1
        cost_of(weights, points, trellis)

    def test_rows_do_not_know_each_other(self, trellis):
        weights = normal(40, 70, seed=8) * 2
        points = trellis_points(weights, trellis)
        assert torch.equal(points[-3:], trellis_points(weights[-3:], trellis))

    def test_rows_beside_columns_in_memory(self, trellis):
        weights = normal(70, 40, seed=7) * 2
        assert torch.equal(trellis_points(weights.T, trellis), trellis_points(weights.T.contiguous(), trellis))

    def test_less_error_than_the_plain_grid_of_the_same_entropy(self, trellis):
        weights = normal(400, 200, seed=9)
        step = 0.4
        points = trellis_points(weights / step, trellis)
        indices = indices_of(points.numpy().T)
        quantizers = trellis.quantizers(indices)
        bits = sum(entropy(indices[quantizers == q]) * (quantizers == q).mean() for q in (0, 1))
        error = float((points * step - weights).square().mean())
        plain = 0.8
        while entropy(torch.round(weights / plain).numpy()) < bits:
            plain *= 0.995
        plain_error = float((torch.round(weights / plain) * plain - weights).square().mean())
        gain = 10 * math.log10(plain_error / error)
        assert gain > {4: 0.55, 8: 0.7, 16: 0.8, 32: 0.85, 64: 0.9, 128: 0.95}[trellis.states]


def entropy(indices):
    counts = np.unique(indices, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


@given(st.lists(st.floats(-32760, 32760, width=32), min_size=1, max_size=20), st.sampled_from([*TRELLISES]))
def test_points_lie_on_a_path_and_near_their_weights(values, states):
    weights = torch.tensor([values])
    points = trellis_points(weights, TRELLISES[states])
    cost_of(weights, points, TRELLISES[states])
    assert float((points - weights).abs().max()) <= 3


class TestRates:
    def test_they_are_the_information_of_what_was_counted(self):
        indices = np.array([[0, 0, 0, 0, 0, 0], [1, -1, 0, -2, 0, 0]], np.int16)
        rates = measured_rates(indices, None, 0.5)
        shares = np.array([9.5, 2.5, 1.5]) / (12 + 64 * 0.5)
        np.testing.assert_allclose(rates.bits[0, 0, :3], -np.log2(shares) + [0, 1, 1], rtol=1e-6)
        found = rates.costs(np.array([[0, 1.5, 2]], np.float32), rates.starts(np.uint8(0)))
        np.testing.assert_allclose(found, 0.5 * rates.bits[0, 0, :3][None], rtol=1e-6)

    def test_sizes_beyond_the_table_cost_what_its_last_does(self):
        rates = measured_rates(np.array([[0, 500, -70]], np.int16), None, 1.0)
        found = rates.costs(np.array([[63, 64, 9000]], np.float32), rates.starts(np.uint8(0)))
        assert (found == rates.bits[0, 0, 63]).all()

    def test_classes_and_quantizers_have_tables_of_their_own(self):
        chance = np.random.default_rng(2)
        sums = chance.integers(0, 3, (40, 30)).astype(np.uint8)
        quantizers = chance.integers(0, 2, (40, 30)).astype(np.uint8)
        indices = (chance.normal(size=(40, 30)) * (1 + 2 * sums + quantizers)).astype(np.int16)
        rates = measured_rates(indices, quantizers, 0.25, sums, 3)
        assert rates.bits.shape == (3, 2, 64)
        for of_sum in range(3):
            for quantizer in range(2):
                members = (sums == of_sum) & (quantizers == quantizer)
                alone = measured_rates(indices[members][None], None, 0.25)
                np.testing.assert_allclose(rates.bits[of_sum, quantizer], alone.bits[0, 0], rtol=1e-6)
        sizes = np.abs(indices).astype(np.float32)
        whole = rates.costs(sizes, rates.starts(quantizers))
        expected = [0.25 * rates.bits[sums[i], quantizers[i], min(int(sizes[i]), 63)] for i in np.ndindex(40, 30)]
        np.testing.assert_allclose(whole.reshape(-1), expected, rtol=1e-6)

    def test_bits_that_count_make_indices_smaller(self):
        weights = normal(200, 100, seed=10) * 1.2
        trellis = TRELLISES[8]
        plain = indices_of(trellis_points(weights, trellis).numpy().T)
        rates = measured_rates(plain, trellis.quantizers(plain), 0.4)
        thrifty = indices_of(trellis_points(weights, trellis, rates).numpy().T)
        assert np.abs(thrifty).sum() < 0.9 * np.abs(plain).sum()
