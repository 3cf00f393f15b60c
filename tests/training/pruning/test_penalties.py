"""Proximal steps minimize what they say; penalties make zeros where they should, keep them, and resume bit for bit."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from small_trainings import Ordered, Recurrent, Small, TwoOptimizers, trainer
from torch import nn

from lightning_compress import (
    CompressCheckpoint,
    Half,
    Plan,
    ProximalPenalty,
    PruneDuringTraining,
    QuantizeDuringTraining,
    Rule,
    Weights,
    load,
)
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.quantize import Ternary
from lightning_compress.training import Grouping, Penalty, ProximalSteps, learning_rates

PENALTIES = {
    "l1": {},
    "l2": {},
    "group-lasso": {"granularity": "row"},
    "reweighted-l1": {"scale": 0.1, "reweight_every": 3},
}
TERNARY = Plan(Rule("*weight*", Ternary("tensor")), Rule("*", Half()))


def value(penalty, weight, former):
    if penalty == "l2":
        return weight.square().sum() / 2
    if penalty == "group-lasso":
        return weight.norm(dim=1).sum() * weight.shape[1] ** 0.5
    return (weight.abs() / (1 + former / 0.1) if penalty == "reweighted-l1" else weight.abs()).sum()


def steps_of(module, penalty, strength, *, granularity="weight", **options):
    weights = Weights.from_module(module)
    return ProximalSteps(
        module, weights, None, penalty=penalty, strength=strength, grouping=Grouping(granularity), **options
    )


def share_of_zeros(state):
    matrices = [tensor for tensor in state.values() if tensor.dim() > 1]
    return sum(int((tensor == 0).sum()) for tensor in matrices) / sum(map(torch.numel, matrices))


def fit(folder, module, *callbacks, source=None, **options):
    save = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer(folder, *callbacks, save, **options).fit(module, ckpt_path=source)
    return module


def test_every_penalty_has_a_case():
    assert set(PENALTIES) == set(get_args(Penalty))


def test_a_proximal_step_minimizes_the_penalty_and_the_distance():
    for penalty, options in PENALTIES.items():
        with naming(penalty):
            torch.manual_seed(0)
            module = nn.Linear(3, 5, bias=False)
            before = module.weight.detach().clone()
            optimizer = torch.optim.SGD(module.parameters(), lr=0.2)
            steps_of(module, penalty, 0.7, **options).step(learning_rates(optimizer), 0)

            def cost(weight, penalty=penalty, before=before):
                return 0.2 * 0.7 * value(penalty, weight, before.abs()) + (weight - before).square().sum() / 2

            least = cost(module.weight.detach())
            assert least < cost(before)
            for size in (1e-3, 1e-2, 1e-1):
                for _ in range(100):
                    assert cost(module.weight.detach() + size * torch.randn(5, 3)) > least


def test_penalties_leave_what_matters():
    """A regression whose solution has 8 of 64 weights: l1 finds them, and reweighting makes them less small."""
    torch.manual_seed(0)
    inputs, solution = torch.randn(200, 64), torch.randn(64).sign() * (torch.arange(64) < 8)
    target = inputs @ solution + 0.3 * torch.randn(200)
    found = {}
    for penalty, options in (("l2", {}), ("l1", {}), ("reweighted-l1", {"scale": 0.1, "reweight_every": 50})):
        module = nn.Linear(64, 1, bias=False)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.2)
        steps = steps_of(module, penalty, 0.1, **options)
        for moment in range(400):
            loss = nn.functional.mse_loss(module(inputs)[:, 0], target) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.step(learning_rates(optimizer), moment)
        found[penalty] = module.weight.detach()[0]
    assert (found["l2"] != 0).all()
    assert ((found["l1"] != 0) | (solution == 0)).all()
    assert (found["l1"] != 0).sum() < 20
    assert ((found["reweighted-l1"] != 0) == (solution != 0)).all()
    assert (found["reweighted-l1"] - solution).abs().max() < (found["l1"] - solution).abs().max()


def test_group_lasso_removes_whole_structures():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 1))
    inputs = torch.randn(100, 8)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    steps = steps_of(module, "group-lasso", 0.1, granularity="neuron")
    for moment in range(300):
        loss = nn.functional.mse_loss(module(inputs)[:, 0], inputs[:, 0].relu())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.step(learning_rates(optimizer), moment)
    units = (module[0].weight == 0).all(1) & (module[0].bias == 0) & (module[2].weight[0] == 0)
    assert 8 <= int(units.sum()) < 12
    assert loss < 1e-3
    assert steps.share > 0.5


def test_zeros_are_held_from_the_end_of_the_penalty_and_stored(tmp_path):
    for name, make, extra, options in (
        ("adam", Small, (), {}),
        ("lstm", Recurrent, (), {}),
        ("average", Small, (EMAWeightAveraging(decay=0.5),), {}),
        ("accumulation", Small, (), {"accumulate_grad_batches": 2}),
        ("manual", TwoOptimizers, (), {}),
        ("quantized", Small, (QuantizeDuringTraining(TERNARY),), {}),
        ("masks", Small, (PruneDuringTraining(0.2, end=3, every=1),), {}),
    ):
        with naming(name):
            penalty = ProximalPenalty("l1", 8.0, end=5)
            plan = TERNARY if name == "quantized" else "exact"
            callbacks = (penalty, CompressCheckpoint(plan, on_error="raise"), *extra)
            module = fit(tmp_path / name, make(), *callbacks, **options)
            held = share_of_zeros({key: each for key, each in module.state_dict().items() if "average" not in key})
            assert 0.2 < held < 1
            assert penalty.share == pytest.approx(held, abs=0.01)
            stored = load(tmp_path / name / "epoch=2.compressed.safetensors")
            assert share_of_zeros(stored) >= held - 0.01


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    for penalty, options in PENALTIES.items():
        for end in (None, 6):
            with naming((penalty, end)):
                folder = tmp_path / f"{penalty}-{end}"

                def callback(penalty=penalty, end=end, options=options):
                    return ProximalPenalty(penalty, 1.0, start=1, end=end, **options)

                whole = fit(folder / "whole", Ordered(16), callback())
                for source in ("epoch=1",) if end else ("epoch=0",):
                    parts = fit(folder / "whole", Ordered(16), callback(), source=folder / "whole" / f"{source}.ckpt")
                    for key, tensor in whole.state_dict().items():
                        torch.testing.assert_close(parts.state_dict()[key], tensor, rtol=0, atol=0)
    with pytest.raises(CallbackError, match="this run has"):
        fit(folder / "whole", Ordered(16), ProximalPenalty("l1", 2.0), source=folder / "whole" / "epoch=0.ckpt")


def test_without_strength_or_before_its_start_nothing_changes(tmp_path):
    plain = fit(tmp_path / "plain", Small())
    for name, penalty in (("strength", ProximalPenalty("l2", 0.0)), ("start", ProximalPenalty("l1", 1.0, start=99))):
        with naming(name):
            other = fit(tmp_path / name, Small(), penalty)
            for key, tensor in plain.state_dict().items():
                torch.testing.assert_close(other.state_dict()[key], tensor, rtol=0, atol=0)


def test_bad_input_is_refused(tmp_path):
    for arguments, message in (
        ({"penalty": "l0"}, "write one of l1, l2, group-lasso, reweighted-l1"),
        ({"strength": -1.0}, "strength"),
        ({"start": 5, "end": 5}, "give an end after the start"),
        ({"penalty": "group-lasso"}, "of single weights it is l1"),
        ({"granularity": "row"}, "take group-lasso"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"reweight_every": 0}, "reweight_every"),
        ({"tensors": "*"}, "tensors"),
    ):
        with naming(arguments), pytest.raises(CallbackError, match=message):
            ProximalPenalty(**{"penalty": "l1", "strength": 1.0, **arguments})
    for options, message in (
        ({"tensors": ["*nothing*"]}, "no parameter matches"),
        ({"penalty": "group-lasso", "granularity": "head"}, "no part of Small is known to have a head"),
    ):
        with naming(options), pytest.raises(CallbackError, match=message):
            fit(tmp_path, Small(), ProximalPenalty(**{"penalty": "l1", "strength": 1.0, **options}))
    for callback in (ProximalPenalty("l1", 1.0), PruneDuringTraining(0.5, end=3)):
        with naming(callback), pytest.raises(CallbackError, match="before it"):
            fit(tmp_path, TwoOptimizers(), QuantizeDuringTraining(TERNARY), callback)

    class WithoutRate(torch.optim.Optimizer):
        pass

    with pytest.raises(TrainingError, match="WithoutRate has no learning rate"):
        learning_rates(WithoutRate([nn.Parameter(torch.zeros(1))], {}))
