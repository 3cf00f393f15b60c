"""Masks follow their schedule, stay through whatever a training does, and cost few bytes where they are whole rows."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from small_trainings import Ordered, Recurrent, Small, Tied, TwoOptimizers, trainer
from torch import nn

from lightning_compress import (
    CompressCheckpoint,
    Half,
    Plan,
    PruneDuringTraining,
    QuantizeDuringTraining,
    Rule,
    Weights,
    compress,
    load,
)
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.quantize import Ternary
from lightning_compress.training import Grouping, Masks, Schedule


def masks_of(module, share, **options):
    masks = Masks(module, Weights.from_module(module), ["*weight*"], **options)
    masks.update(Schedule(share, shape="one-shot"), 0)
    return masks


def zeros(module):
    return {name: (part == 0).float().mean().item() for name, part in module.named_parameters() if part.dim() > 1}


def test_schedules_are_those_of_their_papers():
    cubic = Schedule(0.8, start=10, end=110, every=25, first=0.2)
    assert [round(cubic.share(moment), 4) for moment in (9, 10, 34, 35, 60, 110, 500)] == [
        0.0, 0.2, 0.2, round(0.8 - 0.6 * 0.75**3, 4), round(0.8 - 0.6 * 0.5**3, 4), 0.8, 0.8,
    ]  # fmt: skip
    cycles = Schedule(0.8, end=4, shape="linear")
    assert [round(cycles.share(moment), 2) for moment in range(6)] == [0.0, 0.2, 0.4, 0.6, 0.8, 0.8]
    assert [Schedule(0.5, start=2, shape="one-shot").share(moment) for moment in range(4)] == [0, 0, 0.5, 0.5]
    for arguments, message in (
        ({"final": 0.5, "start": 9, "end": 9}, "give an end after the start"),
        ({"final": 0.5}, "give an end"),
        ({"final": 1.5, "end": 3}, "first <= final"),
        ({"final": 0.5, "end": 3, "first": 0.6}, "first <= final"),
        ({"final": 0.5, "end": 3, "every": 0}, "at least 1"),
        ({"final": 0.5, "end": 3, "shape": "square"}, "one-shot, linear, cubic"),
    ):
        with naming(arguments), pytest.raises(TrainingError, match=message):
            Schedule(**arguments)


def test_magnitude_prunes_the_smallest_groups():
    torch.manual_seed(0)
    for granularity, mean in (
        ("weight", lambda w: w.square()),
        ("row", lambda w: w.square().mean(1, keepdim=True)),
        ("column", lambda w: w.square().mean(0, keepdim=True)),
        ("block", lambda w: nn.functional.avg_pool2d(w.square()[None], (2, 4))[0].repeat_interleave(2, 0)),
    ):
        with naming(granularity):
            module = nn.Linear(8, 8)
            scores = mean(module.weight.detach().clone())
            scores = scores.repeat_interleave(4, 1) if granularity == "block" else scores.expand(8, 8)
            masks = masks_of(module, 0.5, grouping=Grouping(granularity, (2, 4)))
            assert masks.share == 0.5
            torch.testing.assert_close(module.weight == 0, scores <= scores.flatten().sort().values[31])


def test_gradient_criteria_keep_the_weights_that_matter():
    """The weight that the loss needs is the smallest one; it grows, and its gradient is the largest."""
    for criterion in ("taylor", "movement"):
        with naming(criterion):
            module = nn.Linear(4, 1, bias=False)
            nn.init.constant_(module.weight, 1.0)
            module.weight.data[0, 2] = 0.1
            masks = Masks(module, Weights.from_module(module), ["*"], criterion=criterion)
            (20 * (1 - module.weight[0, 2]) + 0.01 * module.weight.sum()).backward()
            masks.observe()
            masks.update(Schedule(0.75, shape="one-shot"), 0)
            assert module.weight[0].tolist() == pytest.approx([0, 0, 0.1, 0])


def test_values_that_are_not_finite_are_left_out_or_named():
    """Mixed precision gives infinite gradients, and skips the step; infinite weights end the training."""
    module = nn.Linear(4, 1, bias=False)
    masks = Masks(module, Weights.from_module(module), ["*"], criterion="taylor")
    for gradient in ([[1.0, 2.0, 3.0, 4.0]], [[float("inf"), float("nan"), 0.0, 0.0]]):
        module.weight.data.fill_(1)
        module.weight.grad = torch.tensor(gradient)
        masks.observe()
    masks.update(Schedule(0.5, shape="one-shot"), 0)
    assert module.weight[0].tolist() == [0, 0, 1, 1]
    module.weight.data[0, 3] = float("nan")
    with pytest.raises(TrainingError, match=r"'weight' has NaN or infinite weights before it is pruned"):
        masks.update(Schedule(0.75, shape="one-shot"), 0)


def test_scopes_rank_together_or_apart():
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].weight.data *= 1e-3
    first = masks_of(module, 0.5)
    assert [float(each.float().mean()) for each in first.pruned.values()] == [0.0, 1.0]
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    assert {float(each.float().mean()) for each in masks_of(module, 0.5, is_global=False).pruned.values()} == {0.5}


@pytest.mark.usefixtures("quick_coding")
def test_masks_stay_through_every_kind_of_training(tmp_path):
    for name, make, extra, options in (
        ("adam", Small, (), {}),
        ("lstm", Recurrent, (), {}),
        ("average", Small, (EMAWeightAveraging(decay=0.5),), {}),
        ("accumulation", Small, (), {"accumulate_grad_batches": 3}),
        ("ties", Tied, (), {}),
        ("manual", TwoOptimizers, (), {}),
    ):
        with naming(name):
            folder, module = tmp_path / name, make()
            prune = PruneDuringTraining(0.6, end=6, every=2)
            save = ModelCheckpoint(folder, filename="last")
            callbacks = (prune, CompressCheckpoint("half", on_error="raise"), save, *extra)
            trainer(folder, *callbacks, max_epochs=4, **options).fit(module)
            assert prune.share == pytest.approx(0.6, abs=0.05)
            stored = load(folder / "last.compressed.safetensors")
            matrices = [tensor for tensor in stored.values() if tensor.dim() > 1]
            found = sum(int((tensor == 0).sum()) for tensor in matrices) / sum(map(torch.numel, matrices))
            assert found == pytest.approx(0.6, abs=0.05)


def test_pruned_weights_stay_zero_under_quantization(tmp_path):
    module, plan = Small(width=16), Plan(Rule("*weight*", Ternary("tensor")), Rule("*", Half()))
    callbacks = (PruneDuringTraining(0.5, end=4, every=1, granularity="row"), QuantizeDuringTraining(plan))
    trainer(tmp_path, *callbacks).fit(module)
    restored = compress(module, plan).restore()["net.0.weight"]
    rows = (module.net[0].weight == 0).all(1)
    assert int(rows.sum()) >= 7
    assert not restored[rows].any()


def test_retraining_recovers_what_pruning_costs():
    torch.manual_seed(0)
    inputs, solution = torch.randn(256, 64), torch.randn(64, 64) * (torch.arange(64) < 16)[:, None]

    def loss(steps, schedule):
        torch.manual_seed(1)
        module = nn.Linear(64, 64, bias=False)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        masks = Masks(module, Weights.from_module(module), ["weight"])
        for step in range(steps):
            value = nn.functional.mse_loss(module(inputs), inputs @ solution.T)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            masks.update(schedule, step)
        assert masks.share == pytest.approx(0.8, abs=0.001)
        return nn.functional.mse_loss(module(inputs), inputs @ solution.T).item()

    at_once = loss(60, Schedule(0.8, start=59, shape="one-shot"))
    assert loss(120, Schedule(0.8, start=20, end=60)) < 0.5 * at_once


def test_zeros_in_whole_rows_cost_few_bytes():
    torch.manual_seed(0)
    module = nn.Linear(64, 64, bias=False)
    masks_of(module, 0.75, grouping=Grouping("row"))
    size = compress(module, Plan(Rule("*", Half()))).nbytes
    kept = module.weight[(module.weight != 0).any(1)].detach()
    alone = compress({"weight": kept}, Plan(Rule("*", Half()))).nbytes
    positions = 64 * 64 * 0.81 / 8  # bytes of as many zeros anywhere, by their entropy
    assert size < alone + positions / 2


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    def run(part, epochs, source=None):
        module = Ordered(16)
        save = ModelCheckpoint(tmp_path / part, filename="{epoch}", save_top_k=-1)
        prune = PruneDuringTraining(0.7, start=2, end=9, every=3, criterion="taylor")
        trainer(tmp_path / part, prune, save, max_epochs=epochs).fit(module, ckpt_path=source)
        return module.state_dict()

    whole = run("whole", 3)
    run("parts", 1)
    first = tmp_path / "parts" / "epoch=0.ckpt"
    resumed = run("parts", 3, first)
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0)
    with pytest.raises(CallbackError, match="this run has"):
        trainer(tmp_path, PruneDuringTraining(0.6, end=9)).fit(Ordered(16), ckpt_path=first)


def test_bad_input_is_refused(tmp_path):
    for arguments, message in (
        ({"amount": "most"}, "expected a share"),
        ({"amount": 0.5, "start": 5, "end": 3}, "ends at 3"),
        ({"amount": 0.5, "end": 3, "unit": "hour"}, "unit"),
        ({"amount": 0.5, "end": 3, "criterion": "luck"}, "criterion"),
        ({"amount": 0.5, "end": 3, "granularity": "sentence"}, "granularity"),
        ({"amount": 0.5, "end": 3, "tensors": "*"}, "tensors"),
    ):
        with naming(arguments), pytest.raises(CallbackError, match=message):
            PruneDuringTraining(**arguments)
    for options, message in (
        ({"granularity": "row", "tensors": ["*"]}, r"'net\.0\.bias' .* no rows"),
        ({"granularity": "block", "block": (3, 4)}, "do not divide"),
        ({"tensors": ["*nothing*"]}, "no parameter matches"),
        ({"granularity": "head"}, "no part of Small is known to have a head"),
        ({"granularity": "neuron", "tensors": ["*nothing*"]}, "no part of Small is known to have a neuron"),
    ):
        with naming(options), pytest.raises(CallbackError, match=message):
            trainer(tmp_path, PruneDuringTraining(0.5, end=3, **options)).fit(Small())
