"""The cheapest whole numbers: by their definition, with and without a compiler."""

from __future__ import annotations

import numpy as np
import pytest
from each_case import naming

from lightning_compress.quantize.grid.trellis import rates as module
from lightning_compress.quantize.grid.trellis.rates import Rates, cheapest_whole


def some_rates(random: np.random.Generator, sums: int, shape: tuple[int, int]) -> Rates:
    bits = np.sort(random.uniform(0, 12, (sums, 2, 20)).astype(np.float32), axis=-1)
    of_weights = None if sums == 1 else random.integers(0, sums, shape[::-1]).astype(np.uint8)
    return Rates(bits, 0.08, of_weights)


@pytest.mark.parametrize("sums", [1, 5])
def test_points_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch, sums: int) -> None:
    random, shape = np.random.default_rng(2), (40, 70)
    weights = (random.standard_normal(shape) * random.choice([0.3, 2, 30], shape)).astype(np.float32)
    weights[0, :6] = 0.5, -0.5, 1.5, -2.5, 0.0, 32760
    rates = some_rates(random, sums, shape)
    expected = np.empty(shape, np.int16)
    for (row, column), weight in np.ndenumerate(weights):
        context = 0 if rates.sums is None else int(rates.sums[column, row])
        near = int(np.rint(abs(weight)))
        costs = [
            np.float32(np.square(abs(weight) - np.float32(size)) + rates.table[40 * context + min(size, 19)])
            for size in (near, max(near - 1, 0))
        ]
        size = near - 1 if near and costs[1] < costs[0] else near
        expected[row, column] = -size if weight < 0 else size
    for compiler in (True, False):
        with naming(compiler):
            monkeypatch.setattr(module, "has_compiler", lambda compiler=compiler: compiler)
            assert np.array_equal(cheapest_whole(weights, rates), expected)
    assert (expected != np.rint(weights)).any()
