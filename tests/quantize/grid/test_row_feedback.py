"""Feedback between rows: against a loop over all weights, and what it saves where rows act together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_feedback import correlated, matrix, rates_for

from lightning_compress.quantize import Grid, GridGuide, Half, row_spread
from lightning_compress.quantize.grid.row_feedback import spread_in_steps
from lightning_compress.quantize.grid.trellis.feedback import feedback_factor, feedback_points
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, indices_of, points_of


def cost(weights, points, across, along):
    """tr(G D H Dᵀ)."""
    errors = weights.double() - points.double()
    return float(((across @ errors @ along) * errors).sum())


def on_both_sides(weights, factor, spread):
    """One weight at a time: rounded, its error taken off the rest of its row; then the row's errors off later rows."""
    upper, rest = factor.double(), weights.double().clone()
    result = torch.zeros(weights.shape, dtype=torch.float64)
    for row in range(len(rest)):
        value = rest[row].clone()
        for column in range(len(value)):
            result[row, column] = value[column].round()
            value[column:] -= (value[column] - result[row, column]) / upper[column, column] * upper[column, column:]
        rest[row + 1 :] -= spread.double()[row, row + 1 :, None] * (rest[row] - result[row])
    return result


class TestSpread:
    @pytest.mark.parametrize("rows", [1, 2, 40])
    def test_what_rows_still_cost_is_what_later_rows_leave(self, rows):
        """Errors z move later rows to Nᵀ z, and N G Nᵀ is diagonal."""
        curvature = correlated(rows, rows)
        spread, costs = row_spread(curvature)
        assert spread.dtype == torch.float32
        assert torch.equal(spread, spread.triu(1))
        moved = spread.double() + torch.eye(rows, dtype=torch.float64)
        torch.testing.assert_close(moved @ curvature @ moved.T, torch.diag(costs), rtol=1e-3, atol=1e-3)

    def test_the_last_row_is_alone(self):
        curvature = correlated(12, 1)
        _, costs = row_spread(curvature)
        assert float(costs[-1]) == pytest.approx(float(curvature[-1, -1]))
        assert bool((costs[:-1] < curvature.diagonal()[:-1]).all())

    @pytest.mark.parametrize(
        "curvature",
        [torch.zeros(3, 3), torch.ones(3, 3), torch.full((3, 3), float("nan")), -torch.eye(3)],
        ids=["zero", "singular", "not numbers", "negative"],
    )
    def test_curvatures_that_have_none(self, curvature):
        assert row_spread(curvature) is None

    def test_steps_change_the_unit_and_nothing_else(self):
        spread, _ = row_spread(correlated(6, 2))
        scales = torch.tensor([1.0, 2, 0.5, 4, 1, 8])
        moved = spread_in_steps(spread, scales)
        errors = torch.randn(6, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(moved.T @ errors * scales, spread.T @ (errors * scales))


class TestPoints:
    @pytest.mark.parametrize(("rows", "columns"), [(1, 4), (9, 7), (150, 70)])
    def test_it_is_the_loop_over_all_weights(self, rows, columns):
        weights = matrix(rows, columns, seed=rows)
        factor, (spread, _) = (
            feedback_factor(correlated(columns, columns), 0.1),
            row_spread(correlated(rows, rows, 400)),
        )
        wanted = on_both_sides(weights, factor, spread)
        points = feedback_points(weights, factor, None, spread=spread)
        assert float((points != wanted).double().mean()) < 1e-3  # float32: a tie may fall to the other side

    @pytest.mark.parametrize("states", [0, 4, 8, 32])
    @pytest.mark.parametrize("with_rates", [False, True])
    def test_it_costs_less_than_feedback_between_columns_alone(self, states, with_rates):
        trellis = TRELLISES[states] if states else None
        for seed in range(2):
            across, along = correlated(150, seed, 400), correlated(90, seed + 10)
            weights, factor = matrix(150, 90, seed), feedback_factor(along, 0.01)
            alone = feedback_points(weights, factor, trellis)
            rates = rates_for(alone, trellis, 0.1) if with_rates else None
            alone = feedback_points(weights, factor, trellis, rates)
            both = feedback_points(weights, factor, trellis, rates, row_spread(across)[0])
            assert cost(weights, both, across, along) < 0.7 * cost(weights, alone, across, along)

    def test_points_are_on_a_path(self):
        trellis, spread = TRELLISES[8], row_spread(correlated(100, 3, 400))[0]
        points = feedback_points(matrix(100, 130), feedback_factor(correlated(130), 0.05), trellis, spread=spread)
        indices = indices_of(points.numpy().T)
        assert np.array_equal(points_of(indices, trellis.quantizers(indices)), points.numpy().T)

    def test_weights_stay_as_they_were(self):
        weights = matrix(80, 20)
        before = weights.clone()
        feedback_points(weights, feedback_factor(correlated(20), 0.05), TRELLISES[8], spread=torch.ones(80, 80).triu(1))
        assert torch.equal(weights, before)


@pytest.mark.parametrize("trellis", [0, 8])
def test_a_guided_grid_feeds_errors_back_between_rows_of_different_steps(trellis):
    across, along = correlated(120, 5, 400), correlated(64, 6)
    spread, costs = row_spread(across)
    exponents = torch.round(-16 * torch.log2(costs / costs.mean())).int().clamp(-100, 100)
    weights, grid = matrix(120, 64), Grid(0.5, trellis=trellis, rate_weight=0).fit([])
    factor = feedback_factor(along, 0.05)
    alone, both = (
        grid.store(weights, Half(), guide=GridGuide(exponents, factor, rows)).restore() for rows in (None, spread)
    )
    assert cost(weights, both, across, along) < 0.7 * cost(weights, alone, across, along)
