"""Which weights become zero: four scopes, exact counts, ties in order, classes apart; wrong values refused."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
import torch

from lightning_compress import Plan, Prune, Raw, Rule, compress
from lightning_compress.errors import PlanError
from lightning_compress.weights import Weights, standard_deviation


def normal(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


STATE = {
    "encoder.0.weight": normal(30, 40),
    "encoder.0.bias": normal(40, seed=1, scale=0.01),
    "encoder.0.norm": torch.ones(40),
    "decoder.0.weight": normal(50, 40, seed=2, scale=5),
    "decoder.0.steps": torch.tensor(7),
    "softmax.weight": normal(33, 7, seed=3, scale=0.2).to(torch.bfloat16),
}
CLASSES = {"encoder.0": ["encoder.0.weight", "encoder.0.bias", "encoder.0.norm"],
           "decoder.0": ["decoder.0.weight"],
           "softmax": ["softmax.weight"]}  # fmt: skip
ALL = [name for names in CLASSES.values() for name in names]


def pruned(state, *rules):
    return compress(state, Plan(*rules)).restore()


def without_smallest(state, names, fraction):
    """The state with the smallest share of these tensors, ranked together in a stable order, set to zero."""
    joined = torch.cat([state[name].double().reshape(-1) for name in names]).numpy()
    count = int(Decimal(str(fraction)) * len(joined))
    kept = np.ones(len(joined))
    kept[np.argsort(np.abs(joined), kind="stable")[:count]] = 0
    parts = np.split(kept, np.cumsum([state[name].numel() for name in names])[:-1])
    zeroed = {
        name: torch.where(torch.from_numpy(part).bool(), state[name].reshape(-1), 0).reshape(state[name].shape)
        for name, part in zip(names, parts, strict=True)
    }
    return {name: zeroed.get(name, tensor) for name, tensor in state.items()}


def expect(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("fraction", [0, 0.15, 0.29, 0.5, 1])
def test_class_blind_ranks_all_weights_together(fraction):
    expect(pruned(STATE, Rule("*", Prune(fraction, "class-blind"))), without_smallest(STATE, ALL, fraction))


@pytest.mark.parametrize("fraction", [0, 0.15, 0.29, 0.5, 1])
def test_class_uniform_ranks_each_class_apart(fraction):
    expected = STATE
    for names in CLASSES.values():
        expected = without_smallest(expected, names, fraction)
    expect(pruned(STATE, Rule("*", Prune(fraction, "class-uniform"))), expected)


@pytest.mark.parametrize("factor", [0, 0.1, 0.67, 3])
def test_class_distribution_is_a_share_of_each_deviation(factor):
    expected = dict(STATE)
    for names in CLASSES.values():
        sigma = np.concatenate([STATE[name].double().reshape(-1).numpy() for name in names]).std()
        expected |= {n: torch.where(STATE[n].double().abs() < factor * sigma, 0, STATE[n]) for n in names}
    expect(pruned(STATE, Rule("*", Prune(factor, "class-distribution"))), expected)


@pytest.mark.parametrize("bound", [0, 1e-60, 0.1, 1.0, 1e300])
def test_threshold_is_one_bound_for_all(bound):
    expected = {n: torch.where(t.double().abs() < bound, 0, t) if n in ALL else t for n, t in STATE.items()}
    expect(pruned(STATE, Rule("*", Prune(bound, "threshold"))), expected)


@pytest.mark.parametrize(
    ("fraction", "weights"), [(0.29, 100), (0.57, 100), (0.07, 100), (0.1, 10), (0.15, 19), (0.999, 1000)]
)
def test_counts_are_of_the_decimal_fraction_rounded_down(fraction, weights):
    restored = pruned({"w": torch.rand(weights) + 1}, Rule("*", Prune(fraction)))
    assert int((restored["w"] == 0).sum()) == math.floor(Decimal(str(fraction)) * weights)


def test_29_percent_of_100_is_29():
    assert int((pruned({"w": normal(100)}, Rule("*", Prune(0.29)))["w"] == 0).sum()) == 29


def test_numpy_fractions_count_alike():
    assert Prune(np.float64(0.29)) == Prune(0.29)
    assert repr(Prune(np.float64(0.29)).amount) == "0.29"


def test_ties_fall_in_the_order_of_tensors_and_elements():
    state = {"a": torch.full((3,), 2.0), "b": torch.full((2, 2), -2.0), "c": torch.full((3,), 2.0)}
    restored = pruned(state, Rule("*", Prune(0.5)))
    assert restored["a"].tolist() == [0, 0, 0]
    assert restored["b"].tolist() == [[0, 0], [-2, -2]]
    assert restored["c"].tolist() == [2, 2, 2]


def test_biases_and_norms_count_unless_another_rule_takes_them():
    restored = pruned(STATE, Rule("*.bias", Raw()), Rule("*.norm", Raw()), Rule("*", Prune(0.4)))
    rest = [name for name in ALL if not name.endswith(("bias", "norm"))]
    expect(restored, without_smallest(STATE, rest, 0.4))


def test_each_rule_ranks_its_own_weights():
    restored = pruned(STATE, Rule("encoder*", Prune(0.3)), Rule("*", Prune(0.3)))
    expected = without_smallest(STATE, CLASSES["encoder.0"], 0.3)
    expect(restored, without_smallest(expected, CLASSES["decoder.0"] + CLASSES["softmax"], 0.3))


def test_classes_may_be_the_user_s():
    weights = Weights.from_state_dict(STATE, classes={"all": "*"})
    expect(compress(weights, Plan(Rule("*", Prune(0.3, "class-uniform")))).restore(), without_smallest(STATE, ALL, 0.3))


def test_tied_weights_count_once():
    table = normal(10, 10)
    restored = pruned({"a": table, "b": table, "c": table[3]}, Rule("*", Prune(0.5)))
    assert int((restored["a"] == 0).sum()) == 50
    assert torch.equal(restored["b"], restored["a"])
    assert torch.equal(restored["c"], restored["a"][3])


@pytest.mark.parametrize("scope", ["class-blind", "class-uniform", "class-distribution", "threshold"])
def test_nan_and_infinity_survive_every_scope(scope):
    special = torch.tensor([float("nan"), 1.0, float("-inf"), -0.5, float("inf")])
    restored = pruned({"w": special}, Rule("*", Prune(1, scope)))["w"]
    assert restored[[0, 2, 4]].view(torch.int32).tolist() == special[[0, 2, 4]].view(torch.int32).tolist()
    if scope in ("class-blind", "class-uniform"):
        assert restored[[1, 3]].tolist() == [0, 0]


def test_integers_are_no_weights():
    state = {"w": normal(10), "n": torch.zeros(1000, dtype=torch.int64)}
    assert int((pruned(state, Rule("*", Prune(0.5)))["w"] == 0).sum()) == 5


def test_survivors_keep_their_bits():
    weights = normal(200) + 3
    restored = pruned({"w": weights}, Rule("*", Prune(0.25)))["w"]
    alive = restored != 0
    assert torch.equal(restored[alive].view(torch.int32), weights[alive].view(torch.int32))


def test_the_deviation_of_weights_far_from_zero_is_stable():
    values = 1 + torch.randn(10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e-9
    assert standard_deviation([values[:4000], values[4000:]]) == pytest.approx(values.numpy().std(), rel=1e-6)
    assert standard_deviation([torch.tensor([float("nan"), float("inf")])]) == 0
    assert standard_deviation([]) == 0


@pytest.mark.parametrize(
    ("amount", "scope", "message"),
    [
        (15, "class-uniform", "takes a fraction from 0 to 1, got 15.0; for 15 % write 0.15"),
        (-0.1, "class-blind", "takes a fraction from 0 to 1, got -0.1"),
        (float("nan"), "class-blind", "takes a fraction from 0 to 1, got nan"),
        (float("nan"), "threshold", "takes a finite number of at least 0, got nan"),
        (float("inf"), "class-distribution", "takes a finite number of at least 0, got inf"),
        (-1, "threshold", "takes a finite number of at least 0, got -1"),
        (True, "class-blind", "amount is True, expected a number such as 0.15"),
        ("0.15", "class-blind", "amount is '0.15', expected a number such as 0.15"),
        (None, "class-blind", "amount is None, expected a number"),
        (0.1, "class_blind", "'class_blind' is unknown; write one of class-blind, class-uniform"),
        (0.1, None, "scope None is unknown"),
    ],
)
def test_wrong_values(amount, scope, message):
    with pytest.raises(PlanError, match=message):
        Prune(amount, scope)
