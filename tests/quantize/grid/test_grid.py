"""The grid method: nearest points, points that are cheap, relative steps, pruning, guides, and what no grid holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress import Grid, Half, Plan, Prune, Raw, Rule, compress
from lightning_compress.errors import PlanError
from lightning_compress.quantize import GridGuide, GridPayload, HalfPayload, RawPayload
from lightning_compress.quantize.grid.matrix import matrix_shape
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.weights import Weights


def normal(*shape, seed=0, scale=1.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def stored(tensor, method, **options):
    return method.fit([tensor]).store(tensor, Raw(), **options)


def entropy_bits(payload):
    bits, start = 0.0, 0
    for length in payload.groups:
        counts = np.bincount(payload.words[start : start + length])
        counts = counts[counts > 0]
        bits += float((counts * np.log2(length / counts)).sum())
        start += length
    return bits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_without_trellis_and_rates_weights_go_to_the_nearest_point(dtype):
    weights = normal(40, 30, scale=3).to(dtype)
    payload = stored(weights, Grid(0.3, trellis=0, rate_weight=0))
    assert isinstance(payload, GridPayload)
    expected = np.rint(weights.double().numpy() / 0.3)
    assert np.array_equal(payload.points.numpy(), expected)
    assert torch.equal(payload.restore(), torch.from_numpy(expected * 0.3).to(dtype))


@given(st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=30), st.floats(0.01, 10))
def test_the_nearest_point_is_at_most_half_a_step_away(values, step):
    weights = torch.tensor(values)
    restored = stored(weights, Grid(step, trellis=0, rate_weight=0)).restore()
    assert float((restored - weights).abs().max()) <= step / 2 * (1 + 1e-5) + 1e-4


@pytest.mark.parametrize("states", [0, *TRELLISES])
def test_bits_that_count_make_a_smaller_payload_of_the_same_error(states):
    weights = normal(128, 200, seed=1)

    def size(rate_weight):
        """Bits a weight at an error of 0.08, between two steps."""
        found = []
        for step in np.geomspace(0.8, 1.3, 5) / (1.6 if states else 1):
            payload = stored(weights, Grid(float(step), trellis=states, rate_weight=rate_weight))
            error = float((payload.restore() - weights).square().mean())
            found.append((np.log(error), entropy_bits(payload) / weights.numel()))
        return float(np.interp(np.log(0.08), *zip(*found, strict=True)))

    assert size(1) < 0.98 * size(0)


def test_a_trellis_and_rates_together_beat_the_plain_grid():
    weights = normal(256, 300, seed=2)
    plain = stored(weights, Grid(1.0, trellis=0, rate_weight=0))
    best = stored(weights, Grid(0.64, trellis=32, rate_weight=1.0))
    errors = [float((p.restore() - weights).square().mean()) for p in (plain, best)]
    assert errors[1] < errors[0]
    assert entropy_bits(best) < 0.92 * entropy_bits(plain)


def test_classes_count_where_rows_differ():
    by_row = torch.logspace(-1, 1, 200)[:, None]
    weights = normal(200, 300, seed=3) * by_row
    payload = stored(weights, Grid(0.5))
    assert payload.classes.rows is not None
    whole = GridPayload.of(payload.points, 0.5, (200, 300), torch.float32, trellis=8, classes=type(payload.classes)())
    assert entropy_bits(payload) < 0.9 * entropy_bits(whole)


@pytest.mark.parametrize(
    ("shape", "states"),
    [((), 0), ((50,), 0), ((1, 50), 0), ((2, 200), 0), ((50, 1), 0), ((4, 200), 8), ((50, 2), 8), ((6, 5, 3, 3), 8)],
)
def test_vectors_and_long_rows_have_no_trellis(shape, states):
    payload = stored(normal(*shape), Grid(0.1))
    assert payload.trellis == states
    assert payload.points.shape == matrix_shape(shape)


def test_scopes_of_relative_steps():
    state = {"a.0.weight": normal(20, 30), "a.1.weight": normal(20, 30, seed=1, scale=4), "b.weight": normal(9, 9)}
    for scope, groups in (
        ("model", (("a.0.weight", "a.1.weight", "b.weight"),)),
        ("class", (("a.0.weight", "a.1.weight"), ("b.weight",))),
        ("tensor", (("a.0.weight",), ("a.1.weight",), ("b.weight",))),
    ):
        classes = {"a": "a.*", "b": "b.*"}
        archive = compress(
            Weights.from_state_dict(state, classes=classes), Plan(Rule("*", Grid(0.25, relative=True, scope=scope)))
        )
        steps = {entry.name: entry.payload["step"] for entry in archive.manifest.entries}
        for names in groups:
            spread = torch.cat([state[name].reshape(-1) for name in names]).double().std(correction=0)
            assert all(steps[name] == pytest.approx(0.25 * float(spread)) for name in names)


@pytest.mark.parametrize("states", [0, 8, 64])
def test_pruned_weights_come_back_as_exact_zero(states):
    weights = normal(64, 80, seed=5)
    pruned = torch.rand(64 * 80, generator=torch.Generator().manual_seed(6)) < 0.5
    restored = stored(weights, Grid(0.05, trellis=states), pruned=pruned).restore()
    assert not restored.reshape(-1)[pruned].any()
    kept = ~pruned.reshape(64, 80)
    assert float((restored - weights)[kept].abs().max()) < 0.3
    archive = compress({"w": weights}, Plan(Rule("*", Prune(0.4), Grid(0.05, trellis=states))))
    assert int((archive.restore()["w"] == 0).sum()) >= 0.4 * weights.numel() - 1


def test_a_guide_gives_rows_steps_of_their_own():
    weights = normal(64, 300, seed=7)
    exponents = torch.arange(64, dtype=torch.int32) * 2 - 64
    payload = stored(weights, Grid(0.2), guide=GridGuide(exponents))
    errors = (payload.restore() - weights).square().mean(1).sqrt()
    units = errors / (0.2 * 2 ** (exponents / 32))
    assert float(units.max()) < 1.6 * float(units.min())
    again = GridPayload.from_streams(payload.parameters(), (64, 300), torch.float32, payload.streams())
    assert torch.equal(again.restore(), payload.restore())


def test_wrong_guides():
    weights = normal(4, 9)
    with pytest.raises(TypeError, match="guided by a GridGuide, got dict"):
        stored(weights, Grid(0.2), guide={})
    for exponents, message in (
        (torch.zeros(3, dtype=torch.int32), r"have the shape \(3,\), expected \(4,\)"),
        (torch.tensor([0, 0, 0, 256], dtype=torch.int32), "reach from 0 to 256, expected .* 255 apart"),
        (torch.tensor([32001] * 4, dtype=torch.int32), "reach from 32001 to 32001, expected within ±32000"),
    ):
        with pytest.raises(ValueError, match=message):
            stored(weights, Grid(0.2), guide=GridGuide(exponents))


OFF_GRID = {
    "nothing": torch.empty(3, 0),
    "not a number": torch.tensor([1.0, float("nan")]),
    "infinity": torch.tensor([1.0, float("-inf")]),
    "far away": torch.tensor([1.0, 40000.0]),
    "far away in a matrix": torch.full((30, 30), 1e30),
    "beyond float16": torch.full((3, 3), 65000.0, dtype=torch.float16),
}


@pytest.mark.parametrize("tensor", OFF_GRID.values(), ids=OFF_GRID)
def test_what_no_grid_holds_is_stored_whole(tensor):
    method = Grid(40000.0 if tensor.dtype == torch.float16 else 1.0, trellis=0, rate_weight=0)
    payload = method.fit([tensor]).store(tensor, Raw())
    assert isinstance(payload, RawPayload)
    if tensor.dtype == torch.float32:
        assert isinstance(method.fit([tensor]).store(tensor, Half()), HalfPayload)
    pruned = torch.ones(tensor.numel(), dtype=torch.bool)
    pruned[-1:] = False
    restored = method.fit([tensor]).store(tensor, Raw(), pruned=pruned).restore().reshape(-1)
    assert not restored[:-1].any()
    if tensor.dtype == torch.float32:
        assert torch.equal(restored[-1:].view(torch.int32), tensor.reshape(-1)[-1:].view(torch.int32))


@pytest.mark.parametrize("tensor", [torch.zeros(4, 5), torch.full((4, 5), 2.0), torch.empty(0)])
def test_weights_that_do_not_vary_have_no_relative_step(tensor):
    payload = stored(tensor, Grid(0.1, relative=True))
    assert isinstance(payload, RawPayload)
    assert torch.equal(payload.restore(), tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "step is 0, expected a finite number above 0"),
        ({"step": -0.1}, "step is -0.1, expected a finite number above 0"),
        ({"step": float("nan")}, "step is nan, expected a finite number above 0"),
        ({"step": float("inf")}, "step is inf, expected a finite number above 0"),
        ({"step": "0.1"}, "step is '0.1', expected a number such as 0.05"),
        ({"step": True}, "step is True, expected a number such as 0.05"),
        ({"step": 0.1, "trellis": 5}, "trellis is 5, expected a number of states, 4, 8, 16, 32, 64, 128, or 0"),
        ({"step": 0.1, "trellis": True}, "trellis is True, expected a number of states"),
        ({"step": 0.1, "trellis": 8.0}, "trellis is 8.0, expected a number of states"),
        ({"step": 0.1, "relative": 1}, "relative is 1, write true or false"),
        ({"step": 0.1, "scope": "layer"}, "scope 'layer' is unknown; write one of model, class, tensor"),
        ({"step": 0.1, "rate_weight": -1}, "rate_weight is -1, expected a finite number of at least 0"),
        ({"step": 0.1, "rate_weight": None}, "rate_weight is None, expected a number"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(PlanError, match=message):
        Grid(**options)
