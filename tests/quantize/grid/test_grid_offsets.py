"""Column offsets: when they are taken off, what they save, and what they must leave alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lightning_compress import Grid, Half, Plan, Prune, Raw, Rule, compress
from lightning_compress.quantize import GridGuide, GridPayload
from lightning_compress.quantize.grid import offsets
from lightning_compress.quantize.grid.offsets import Offsets, choose_offsets
from lightning_compress.quantize.grid.trellis.feedback import feedback_factor


def drifted(rows=300, columns=40, drift=0.8, seed=0):
    """Rows of a softmax: normal, and one vector added to all of them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) + drift * torch.randn(columns, generator=generator)


def stored(tensor, method=None, **options):
    method = method or Grid(0.5)
    return method.fit([tensor]).store(tensor, Raw(), **options)


def nbytes(archive):
    return sum(stream.nbytes for entry in archive.manifest.entries for stream in entry.streams)


@pytest.mark.parametrize("states", [0, 8])
def test_offsets_save_what_the_drift_took(states):
    plan = Plan(Rule("*", Grid(0.5, trellis=states), Half()))
    weights = drifted()
    still = weights - weights.mean(0)
    with_drift, without = (compress({"softmax.weight": part}, plan) for part in (weights, still))
    (entry,) = with_drift.manifest.entries
    assert entry.payload["offset"] == 2.0 ** round(math.log2(entry.payload["offset"]))
    assert nbytes(with_drift) < nbytes(without) + 1.5 * 40
    errors = [float((a.restore()["softmax.weight"] - w).square().mean())
              for a, w in ((with_drift, weights), (without, still))]  # fmt: skip
    assert errors[0] < 1.05 * errors[1]


def test_offsets_are_the_means_as_exact_as_they_need_be():
    weights = drifted(rows=3000)
    offsets = choose_offsets(weights / 0.1, torch.full((3000,), 0.1, dtype=torch.float64))
    assert offsets is not None
    assert float((offsets.values() - weights.double().mean(0)).abs().max()) < 0.8 * offsets.unit
    deviation = float(weights.std(0).mean())
    assert 0.49 * deviation * math.sqrt(12 / 3000) < offsets.unit < 1.05 * deviation * math.sqrt(12 / 3000)


def test_rows_of_small_variance_count_more():
    weights = drifted(rows=400, drift=1.0)
    mean = drifted(rows=400, drift=1.0).mean(0)
    still = weights - mean
    spread = torch.where(torch.arange(400) % 2 > 0, 0.2, 5.0)[:, None]
    exponents = torch.where(torch.arange(400) % 2 > 0, 0, 64)
    scales = 0.1 * 2 ** (exponents.double() / 32)
    moved = still * spread + mean
    offsets = choose_offsets((moved / scales[:, None]).float(), scales)
    assert offsets is not None
    quiet = moved[spread[:, 0] < 1].mean(0)
    assert float((offsets.values() - quiet).abs().max()) < 0.05 < float((moved.mean(0) - quiet).abs().max())


@pytest.mark.parametrize(("rows", "drift", "pays"), [(6000, 0.02, False), (6000, 0.3, True), (700, 0.0, False)])
def test_many_rows_are_judged_by_some_of_them(monkeypatch, rows, drift, pays):
    seen = []
    means = offsets._means
    monkeypatch.setattr(
        offsets, "_means", lambda weights, relative: seen.append(len(weights)) or means(weights, relative)
    )
    found = choose_offsets(drifted(rows, 100, drift), torch.ones(rows, dtype=torch.float64))
    assert (found is not None) == pays
    assert seen == [-(-rows // min(16, rows // 64)), *[rows] * pays]


NONE = {
    "no drift": drifted(drift=0.0),
    "a drift that would not pay": drifted(rows=20, columns=30, drift=0.2),
    "a vector": drifted(rows=400, columns=1, drift=3.0),
    "one row": drifted(rows=1, columns=400, drift=3.0),
    "a row that is 0": drifted(drift=2.0) * (torch.arange(300) != 7)[:, None],
}


@pytest.mark.parametrize("weights", NONE.values(), ids=NONE)
def test_matrices_without_offsets(weights):
    payload = stored(weights)
    assert isinstance(payload, GridPayload)
    assert payload.offsets is None
    assert "column_offsets" not in payload.streams()


def test_rows_that_are_0_come_back_as_0():
    weights = drifted(drift=3.0) * (torch.arange(300) % 50 > 0)[:, None]
    for rate_weight in (0.0, 1.0, 30.0):
        restored = stored(weights, Grid(0.5, rate_weight=rate_weight)).restore()
        assert not restored[::50].any()
        assert bool(restored[1].any())


def test_pruned_weights_have_no_offsets():
    weights = drifted(drift=2.0)
    pruned = torch.arange(weights.numel()) % 3 == 0
    payload = stored(weights, pruned=pruned)
    assert payload.offsets is None
    assert not payload.restore().reshape(-1)[pruned].any()
    archive = compress({"w": weights}, Plan(Rule("*", Prune(0.3), Grid(0.5))))
    assert int((archive.restore()["w"] == 0).sum()) >= 0.3 * weights.numel() - 1


def test_errors_are_fed_back_beside_offsets():
    weights = drifted(drift=1.0)
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(400, 40, generator=generator) @ torch.randn(40, 40, generator=generator)
    curvature = inputs.T @ inputs / 400
    factor = feedback_factor(curvature, 0.01)

    def cost(guide):
        payload = stored(weights, guide=guide)
        assert payload.offsets is not None
        error = (payload.restore() - weights).double()
        return float(((error @ curvature.double()) * error).sum())

    assert cost(GridGuide(factor=factor)) < 0.8 * cost(None)
    exponents = torch.arange(300, dtype=torch.int32) % 64 - 32
    assert cost(GridGuide(exponents, factor)) < 0.9 * cost(GridGuide(exponents))


def test_words_of_every_number():
    numbers = np.arange(-32768, 32768).astype(np.int16)
    offsets = Offsets(numbers, 0.5)
    assert offsets.words().dtype == np.uint16
    assert offsets.words()[32766:32771].tolist() == [3, 1, 0, 2, 4]
    assert np.array_equal(Offsets.from_words(offsets.words(), 0.5).numbers, numbers)
    assert torch.equal(offsets.values(), torch.arange(-32768, 32768).double() / 2)
    assert Offsets(np.zeros(3, np.int16), 1.0).words().dtype == np.uint16


def test_means_far_from_their_spread_have_a_wider_unit():
    generator = torch.Generator().manual_seed(5)
    weights = torch.randn(100_000, 2, generator=generator, dtype=torch.float64) * 1e-3 + torch.tensor([30000.0, -20000])
    offsets = choose_offsets(weights.float(), torch.ones(100_000, dtype=torch.float64))
    assert offsets is not None
    assert offsets.unit == 1.0
    assert offsets.numbers.tolist() == [30000, -20000]
