"""How probable it is that a file is feasible once it is evaluated, against simulated evaluations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress.search.optimize.surrogate import Surrogate
from lightning_compress.search.optimize.trial_data import TrialData

MAX_DROP = 0.3
SIZES = np.array([12.2, 12.0, 11.95, 11.92, 11.9])
ONE = torch.ones(1, dtype=torch.float64)


def data_of(sizes, drops, noise, assured):
    return TrialData(
        torch.from_numpy(sizes)[:, None],
        torch.from_numpy(drops),
        ONE,
        MAX_DROP,
        0.2,
        noise=torch.from_numpy(noise),
        usual=torch.from_numpy(np.log(0.3 * np.exp(-4 * (sizes - 11.9)))),
        divergences=torch.from_numpy(-4 * sizes),
        assured=assured,
    )


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("assured", [0.6, 0.8])
def test_it_is_how_often_an_evaluation_makes_the_file_feasible(shared, assured):
    """Truth, luck and readings are drawn given the trials so far, which the surrogate knows the law of."""
    draws = np.random.default_rng(int(10 * shared))
    sizes = np.append(SIZES, 11.86)
    noise = 0.2**2 * (shared * np.ones((6, 6)) + (1 - shared) * np.eye(6))
    feasible, expected = [], []
    for _ in range(60):
        scale = np.exp(draws.normal(0, 0.7))
        true = scale * 0.3 * np.exp(-4 * (sizes - 11.9)) + draws.normal(0, 0.05, 6)
        drops = true + draws.multivariate_normal(np.zeros(6), noise)
        before = Surrogate(data_of(sizes[:5], drops[:5], noise[:5, :5], assured))
        after = Surrogate(data_of(sizes, drops, noise, assured)).true_drops
        expected.append(float(before.probability_of_feasibility(torch.tensor([[11.86]], dtype=torch.float64))[0]))
        feasible.append(float(after.probability[5]) >= assured and drops[5] <= MAX_DROP)
    assert np.mean(expected) == pytest.approx(np.mean(feasible), abs=0.12)


def test_a_file_whose_reading_would_not_be_allowed_is_not_feasible():
    """Sure of the truth, but all that can be read is too much: the exact weights are lucky on these items."""
    drops = 0.3 * np.exp(-4 * (SIZES - 11.9)) / 3 + 0.6
    noise = 0.3**2 * (0.995 * np.ones((5, 5)) + 0.005 * np.eye(5))
    surrogate = Surrogate(data_of(SIZES, drops, noise, 0.5))
    assert float(surrogate.probability_of_feasibility(torch.tensor([[12.3]], dtype=torch.float64))[0]) < 0.01
