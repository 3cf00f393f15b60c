"""The code length is that of the coder, its gradient that of the code length, and the dial reaches the target."""

from __future__ import annotations

import logging

import pytest
import torch
from each_case import naming
from small_trainings import Small, trainer
from torch import nn
from torch.nn import functional as F

from lightning_compress import Plan, QuantizeDuringTraining, Rule, Weights, compress
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.quantize import Grid, Half
from lightning_compress.runtime import compiler as compiler_module
from lightning_compress.training import Dial, LatentWeights, RatePenalty, starting_plan
from lightning_compress.training.rate.code_lengths import CodeLengths

GRID = Grid(0.25, trellis=0, rate_weight=0)
PLAN = Plan(Rule("*weight*", GRID), Rule("*", Half(rounding="nearest"), optional=True))


def weights(rows=96, columns=200):
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-1, 0.5, rows)[:, None]
    return torch.randn(rows, columns, generator=generator) * scale + torch.linspace(-2, 2, columns)


def interpolated(lengths, tensor):
    """The code length of each weight, bits, by its definition."""
    place = (tensor - lengths.offsets) / lengths.scales
    low = place.floor()
    at = low.long() + lengths.bits.shape[1] // 2
    low_bits, high_bits = (lengths.bits[lengths.contexts.long(), index] for index in (at, at + 1))
    return low_bits + (place - low) * (high_bits - low_bits)


def test_the_code_length_of_the_indices_is_the_length_of_the_code():
    tensor = weights()
    payload = GRID.fit([tensor]).store(tensor, Half())
    lengths = CodeLengths.of(payload)
    assert lengths.offsets is not None
    assert lengths.bits.shape[0] > 1
    size = float(interpolated(lengths, payload.restore()).sum()) / 8
    coded = next(iter(compress({"w": tensor}, Plan(Rule("*", GRID))).manifest.entries)).coded_bytes
    assert size == pytest.approx(coded, rel=0.06)


def test_the_gradient_is_the_slope_of_the_code_length():
    tensor = weights()
    lengths = CodeLengths.of(GRID.fit([tensor]).store(tensor, Half()))
    place = (tensor - lengths.offsets) / lengths.scales
    inside = (place.abs() > 0.5) & ((place - place.round()).abs() > 0.1)
    shift = 0.01 * lengths.scales
    slope = (interpolated(lengths, tensor + shift) - interpolated(lengths, tensor - shift)) / (2 * shift)
    found = lengths.gradient(tensor)
    torch.testing.assert_close(found[inside], slope[inside], rtol=0.02, atol=0.1)
    assert not lengths.gradient(lengths.offsets.expand_as(tensor)).any()


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_the_gradient_does_not_depend_on_the_compiler(monkeypatch, mean):
    tensor = weights(rows=700) - (1 - mean) * torch.linspace(-2, 2, 200)
    lengths = CodeLengths.of(GRID.fit([tensor]).store(tensor, Half()))
    assert (lengths.offsets is not None) == bool(mean)
    tensor[0, :2] = torch.tensor([1e6, -1e6])  # beyond all indices
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        found.append(lengths.gradient(tensor))
    differs = (found[0] - found[1]).abs() > 1e-4 * found[1].abs().max()
    assert found[1].abs().max() > 0
    assert differs.float().mean() < 1e-4  # on the border of two cells


def test_the_dial_turns_towards_the_target_and_stays_there_when_it_is_reached():
    dial = Dial(target=100, ramp=0.5).measured(200, 0.0)
    assert dial.rate_weight == pytest.approx(dial.start)
    assert dial.target_at(0.25, 200) == pytest.approx((200 * 100) ** 0.5)
    above, reached = dial.measured(200, 0.5), dial.measured(100, 0.5)
    assert above.rate_weight > 10 * dial.rate_weight
    assert reached.rate_weight == dial.rate_weight
    assert dial.measured(80, 1.0).rate_weight < dial.rate_weight


def test_how_far_the_dial_turns_follows_from_the_training_and_not_from_the_number_of_measurements():
    often, seldom = Dial(target=100, ramp=0.0), Dial(target=100, ramp=0.0)
    for step in range(101):
        often = often.measured(101, step / 1000)
        if step % 10 == 0:
            seldom = seldom.measured(101, step / 1000)
    assert often.rate_weight == pytest.approx(seldom.rate_weight)
    assert often.rate_weight > 1.5 * often.start
    assert often.measured(101, 1.0).rate_weight < 10 * often.rate_weight  # at once
    back = often.measured(99, 0.2)
    assert back.rate_weight == pytest.approx(often.start, rel=0.3)


def trained(dial, *, steps=60, adapts=True):
    """Bytes and loss after a regression whose solution needs few of its inputs."""
    torch.manual_seed(0)
    module = nn.Linear(64, 64)
    solution = torch.randn(64, 64) * (torch.rand(64, 64) < 0.1)
    inputs = torch.randn(256, 64)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    latent = LatentWeights(module, PLAN)
    penalty = RatePenalty(latent)
    for step in range(steps):
        optimizer.zero_grad()
        with latent.quantized():
            loss = F.mse_loss(module(inputs), inputs @ solution.T)
            loss.backward()
        if step % 6 == 0:
            size = penalty.measure()
            dial = dial.measured(size, step / steps) if adapts else dial
        penalty.add_gradients(dial.rate_weight)
        optimizer.step()
    return penalty.file_bytes(), loss.item()


@pytest.mark.usefixtures("quick_coding")
def test_the_penalty_makes_the_file_smaller_at_little_loss_until_the_target_is_reached():
    plain, loss = trained(Dial(1, start=0.0), adapts=False)
    small, penalised = trained(Dial(1, start=1.0), adapts=False)
    assert small < 0.85 * plain
    assert penalised < loss + 0.3
    plain, _ = trained(Dial(1, start=0.0), adapts=False, steps=90)
    target = round(0.85 * plain)
    reached, _ = trained(Dial(target, ramp=0.2, start=0.3), steps=90)
    assert reached == pytest.approx(target, rel=0.06)


@pytest.mark.usefixtures("quick_coding")
def test_a_training_measures_its_file_and_says_when_it_misses_the_target(tmp_path, caplog):
    def run(**options):
        module, callback = Small(width=64), QuantizeDuringTraining(PLAN, measure_every=3, **options)
        trainer(tmp_path, callback, max_epochs=1).fit(module)
        return callback.measured_bytes, compress(module, PLAN).nbytes

    with caplog.at_level(logging.ERROR):
        measured, size = run(target_ratio=1.05)
        assert measured == pytest.approx(size, abs=16)  # the manifest holds the number of steps
        assert not caplog.text
        run(target_bytes=size - 80)
    assert "train longer" in caplog.text
    for options, error, message in (
        ({"target_bytes": 400}, TrainingError, "without a single index"),
        ({"target_bytes": 1.5}, CallbackError, "whole number"),
        ({"target_ratio": 2, "ramp": 1.5}, CallbackError, "0 to 1"),
    ):
        with naming(options), pytest.raises(error, match=message):
            run(**options)


def test_a_training_starts_with_running_means_that_are_kept():
    module = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 64))
    module.register_buffer("shift", torch.linspace(0, 1, 64))
    weights = Weights.of(module)
    archive = starting_plan(weights, 9_000).compress(weights)
    exact = {"1.running_mean", "1.running_var", "shift"}
    assert all(torch.equal(archive.tensors[name], module.state_dict()[name]) for name in exact)
