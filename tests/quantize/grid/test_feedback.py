"""Error feedback: against the textbook's loop, against the search without it, and what it saves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.quantize.grid.points import choose_points
from lightning_compress.quantize.grid.trellis.feedback import feedback_factor, feedback_points
from lightning_compress.quantize.grid.trellis.rates import Rates, measured_rates
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, indices_of, points_of
from lightning_compress.quantize.grid.trellis.viterbi import trellis_points


def correlated(columns, seed=0, inputs=300):
    """The curvature of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(inputs, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return (mixed.T @ mixed / inputs).double()


def matrix(rows, columns, seed=0, scale=3.0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale


def cost(weights, points, curvature):
    error = weights.double() - points.double()
    return float(((error @ curvature) * error).sum())


def rates_for(points, trellis, weight, sums=None, count=1):
    columns = points.numpy().T
    indices = columns if trellis is None else indices_of(columns)
    return measured_rates(indices, None if trellis is None else trellis.quantizers(indices), weight, sums, count)


def textbook(weights, factor, rates=None):
    """GPTQ, one weight at a time: round, divide by the diagonal, take off the rest of the row."""
    upper, result = factor.double(), np.zeros(weights.shape, np.int64)
    for row, start in enumerate(weights.double()):
        rest = start.clone()
        for column in range(len(rest)):
            value, scale = float(rest[column]), float(upper[column, column])
            point = round(abs(value))
            if rates is not None:
                bits = [float(rates.bits[0, 0, min(size, 63)]) for size in (point, max(point - 1, 0))]
                errors = [((abs(value) - size) / scale) ** 2 for size in (point, max(point - 1, 0))]
                costs = [error + rates.weight * bit for error, bit in zip(errors, bits, strict=True)]
                point = max(point - 1, 0) if costs[1] < costs[0] else point
            result[row, column] = point if value >= 0 else -point
            rest[column:] -= (value - result[row, column]) / scale * upper[column, column:]
    return result


class TestFactor:
    @given(st.integers(1, 30), st.integers(0, 1 << 20), st.floats(0.001, 10))
    @settings(max_examples=30, deadline=None)
    def test_its_square_is_the_inverse_of_the_damped_curvature(self, columns, seed, damping):
        curvature = correlated(columns, seed)
        factor = feedback_factor(curvature, damping)
        assert factor is not None
        assert factor.dtype == torch.float32
        assert torch.equal(factor, factor.triu())
        assert float(factor.double().diagonal().pow(-2).mean()) == pytest.approx(1, rel=1e-4)
        damped = curvature + damping * curvature.diagonal().mean() * torch.eye(columns, dtype=torch.float64)
        product = factor.double().T @ factor.double() @ damped
        scale = product.diagonal().mean()
        assert float(scale) > 0
        assert torch.allclose(product / scale, torch.eye(columns, dtype=torch.float64), atol=1e-2)

    @pytest.mark.parametrize(
        "curvature",
        [
            torch.zeros(4, 4),
            torch.full((4, 4), float("nan")),
            torch.eye(4) * torch.tensor([1.0, float("nan"), 1, 1]),
            torch.eye(4) * float("inf"),
            torch.diag(torch.tensor([1.0, 1, 1, -0.9])),
            -torch.eye(4),
        ],
        ids=["zero", "not numbers", "one not a number", "infinite", "not positive", "negative"],
    )
    def test_curvatures_that_have_none(self, curvature):
        assert feedback_factor(curvature, 0.01) is None

    def test_one_that_no_damping_saves(self):
        singular = torch.ones(6, 6) * 1e200
        assert feedback_factor(singular.double(), 1e-18) is None

    def test_a_singular_curvature_is_damped(self):
        assert feedback_factor(torch.ones(6, 6), 0.01) is not None
        assert feedback_factor(torch.diag(torch.tensor([1.0, 0.0, 0.0])), 0.01) is not None


class TestPlain:
    @pytest.mark.parametrize("with_rates", [False, True])
    @pytest.mark.parametrize(("rows", "columns"), [(5, 1), (7, 20), (3, 75), (150, 21)])
    def test_it_is_the_loop_of_the_textbook(self, rows, columns, with_rates):
        weights = matrix(rows, columns, seed=rows)
        factor = feedback_factor(correlated(columns, columns), 0.05)
        rates = rates_for(weights.round().to(torch.int16), None, 0.1) if with_rates else None
        points = feedback_points(weights, factor, None, rates)
        assert points.dtype == torch.int16
        assert np.array_equal(points.numpy(), textbook(weights, factor, rates))

    def test_of_two_columns_it_is_the_best_of_all_points_near_by(self):
        """With one column left, rounding what the first left over is exact: it is the best for that first point."""
        curvature = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
        factor = feedback_factor(curvature, 1e-9)
        weights = matrix(60, 2, seed=4)
        points = feedback_points(weights, factor, None)
        for row in range(60):
            choices = [torch.tensor([[float(points[row, 0]), float(k)]]) for k in range(-20, 21)]
            best = min(cost(weights[row : row + 1], choice, curvature) for choice in choices)
            assert cost(weights[row : row + 1], points[row : row + 1], curvature) == pytest.approx(best, abs=1e-5)


class TestAlongATrellis:
    @pytest.mark.parametrize("with_rates", [False, True])
    @pytest.mark.parametrize("states", TRELLISES)
    def test_without_correlation_it_is_the_search_without_feedback(self, states, with_rates):
        trellis = TRELLISES[states]
        weights = matrix(50, 32, seed=states)
        nearest = trellis_points(weights, trellis)
        rates = rates_for(nearest, trellis, 0.3) if with_rates else None
        found = feedback_points(weights, torch.eye(32), trellis, rates)
        assert torch.equal(found, trellis_points(weights, trellis, rates))

    @pytest.mark.parametrize("states", [4, 8, 64])
    def test_points_are_on_a_path(self, states):
        weights = matrix(70, 150, seed=states)
        factor = feedback_factor(correlated(150), 0.05)
        points = feedback_points(weights, factor, TRELLISES[states]).numpy().T
        indices = indices_of(points)
        assert np.array_equal(points_of(indices, TRELLISES[states].quantizers(indices)), points)

    def test_one_block_is_the_best_of_the_paths_that_keep_their_errors(self):
        """All paths of five columns: with 128 states no two of them meet, so none is given up on the way."""
        trellis = TRELLISES[128]
        weights, columns = matrix(6, 5, seed=9), 5
        factor = feedback_factor(correlated(columns, 3), 0.1)
        found = feedback_points(weights, factor, trellis)
        upper = factor.double().numpy()
        for row in range(6):
            best = np.inf
            for parities in range(1 << columns):
                rest, path_cost, quantizers = weights[row].double().numpy().copy(), 0.0, [0] * 8
                for column in range(columns):
                    parity = parities >> column & 1
                    quantizer = quantizers[-1]
                    allowed = [2 * k - quantizer * np.sign(k) for k in range(-60, 61) if k % 2 == parity]
                    point = min(allowed, key=lambda x: abs(x - rest[column]))
                    error = (rest[column] - point) / upper[column, column]
                    path_cost += error**2
                    rest[column:] -= error * upper[column, column:]
                    quantizers.append((parity + sum(quantizers[-1 - lag] for lag in trellis.lags)) % 2)
                best = min(best, path_cost)
            error = weights[row].double().numpy() - found[row].numpy()
            cost_found = float(np.square(np.linalg.solve(upper.T, error)).sum())
            assert cost_found == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("with_rates", [False, True])
@pytest.mark.parametrize("states", [0, 8])
def test_feedback_lowers_the_cost_in_the_loss(states, with_rates):
    trellis = TRELLISES[states] if states else None
    for seed in range(3):
        curvature = correlated(90, seed)
        weights = matrix(700, 90, seed)
        plain = choose_points(weights, states, float(with_rates))
        fed_back = choose_points(weights, states, float(with_rates), factor=feedback_factor(curvature, 0.01))
        assert cost(weights, fed_back, curvature) < 0.5 * cost(weights, plain, curvature)
        assert trellis is None or fed_back.shape == plain.shape


@pytest.mark.parametrize("states", [0, 8])
def test_rates_of_classes_are_those_of_each_weight(states):
    """Rows in several chunks, columns in several blocks, each with classes of its own, as if each row stood alone."""
    trellis = TRELLISES[states] if states else None
    rows, columns = 1030, 70
    weights = matrix(rows, columns, seed=2)
    factor = feedback_factor(correlated(columns), 0.05)
    chance = np.random.default_rng(0)
    sums = chance.integers(0, 3, (columns, rows)).astype(np.uint8)
    bits = chance.uniform(1, 9, (3, 2, 64)).astype(np.float32)
    found = feedback_points(weights, factor, trellis, Rates(bits, 0.2, sums))
    for row in (0, 511, 512, 1029):
        alone = Rates(bits, 0.2, np.ascontiguousarray(sums[:, row : row + 1]))
        assert torch.equal(feedback_points(weights[row : row + 1], factor, trellis, alone)[0], found[row])


@pytest.mark.parametrize("states", [0, 8])
def test_what_feedback_carries_away_is_held(states):
    factor = torch.eye(40) + 30 * torch.ones(40, 40).triu(1)
    points = feedback_points(matrix(9, 40), factor, TRELLISES[states] if states else None)
    assert int(points.abs().max()) <= 32766


def test_no_rows_are_no_points():
    assert feedback_points(torch.empty(0, 5), torch.eye(5), TRELLISES[8]).shape == (0, 5)
