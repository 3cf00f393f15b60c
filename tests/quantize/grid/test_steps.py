"""Weights in units of steps, and what their nearest points restore: the same bits with a compiler and without."""

from __future__ import annotations

import pytest
import torch

from lightning_compress import Grid, Half
from lightning_compress.quantize import GridGuide
from lightning_compress.quantize.grid.steps import in_steps, nearest_values, within
from lightning_compress.runtime import compiler as compiler_module

ROWS, COLUMNS = 500, 300  # more than the compiled loops need


def matrix(seed=0):
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed))


def scales():
    return torch.logspace(-2, 0, ROWS, dtype=torch.float64)


def each_way(monkeypatch, work):
    """The results with a compiler and without."""
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        yield work()


def same_bits(first, second):
    return torch.equal(first.view(torch.int32), second.view(torch.int32))


@pytest.mark.parametrize("offsets", [None, torch.linspace(-1, 1, COLUMNS, dtype=torch.float64)])
@pytest.mark.parametrize("extreme", [None, float("inf"), float("nan")])
def test_steps_and_the_largest_of_each_row_do_not_depend_on_the_compiler(monkeypatch, offsets, extreme):
    weights = matrix()
    weights[3] = -0.0
    if extreme is not None:
        weights[7, 5] = extreme
    (first, first_largest), (second, second_largest) = each_way(
        monkeypatch, lambda: in_steps(weights, scales(), offsets)
    )
    assert within(first_largest) == within(second_largest) == (extreme is None)
    finite = second_largest.isfinite()
    assert int((~finite).sum()) == (extreme is not None)
    assert same_bits(first[finite], second[finite])
    assert same_bits(first_largest[finite], second_largest[finite])


@pytest.mark.parametrize("offsets", [None, torch.linspace(-1, 1, COLUMNS, dtype=torch.float64)])
def test_what_nearest_points_restore_does_not_depend_on_the_compiler(monkeypatch, offsets):
    weights = 30 * matrix()
    weights[0] = torch.arange(COLUMNS) - COLUMNS / 2 + 0.5  # halves, of both signs
    weights[1, :4] = torch.tensor([-0.0, -0.4, 32760.0, -32760.0])
    first, second = each_way(monkeypatch, lambda: nearest_values(weights.clone(), scales(), offsets, torch.float32))
    assert same_bits(first, second)


@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_the_quantized_weights_are_those_of_the_file(mean):
    weights = matrix() + mean * torch.randn(COLUMNS, generator=torch.Generator().manual_seed(1))
    guide = GridGuide(torch.arange(ROWS, dtype=torch.int32) % 64)
    grid = Grid(0.2, trellis=0, rate_weight=0).fit([weights])
    payload = grid.store(weights, Half(), guide=guide)
    assert (payload.offsets is not None) == bool(mean)
    assert same_bits(grid.quantize(weights, Half(), guide=guide), payload.restore())
