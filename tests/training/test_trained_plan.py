"""A training that finds its plan: for a target of bytes, with steps of rows, and files made as it trains."""

from __future__ import annotations

import logging

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, loader, trainer
from torch import nn
from torch.nn import functional as F

from lightning_compress import CompressCheckpoint, Grid, Half, Plan, QuantizeDuringTraining, Rule, load
from lightning_compress.archive import Archive
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError, PlanError, TrainingError
from lightning_compress.quantize import GridGuide, feedback_factor
from lightning_compress.training import LatentWeights, calibrated_start, exact_bytes
from lightning_compress.weights import Weights

pytestmark = pytest.mark.usefixtures("quick_coding")


class Wide(Small):
    """Rows of the first matrix matter as unequally as the inputs of the second are scaled."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, 1))
        with torch.no_grad():
            self.net[2].weight *= torch.logspace(-1, 0.5, 96)

    def train_dataloader(self):
        return loader()


class Pairs:
    """The batches of the training as calibration data."""

    def __iter__(self):
        return iter(loader())

    def loss(self, module, batch):
        return F.mse_loss(module(batch[0]), batch[1])


def target_of(share=0.2):
    return int(exact_bytes(Weights.from_module(Wide())) * share)


def test_the_file_holds_what_was_validated_with_a_step_for_each_row(tmp_path):
    for background in (None, "wait"):
        with naming(background):
            folder, module, validated = tmp_path / str(background), Wide(), {}
            quantize = QuantizeDuringTraining(calibration=Pairs(), target_bytes=target_of(), measure_every=4)

            def record(*_, module=module, validated=validated):
                if not module.training:
                    validated.update({name: value.clone() for name, value in module.state_dict().items()})

            module.net.register_forward_pre_hook(record)
            compress = CompressCheckpoint("trained", on_error="raise", background=background)
            save = ModelCheckpoint(folder, filename="last")
            trainer(folder, compress, quantize, save, max_epochs=2).fit(module)
            path = folder / "last.compressed.safetensors"
            found = load(path)
            for name, tensor in validated.items():
                torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
            first = next(entry for entry in Archive.open(path).manifest.entries if entry.name == "net.0.weight")
            assert "exponent" in first.payload
            assert quantize.guided_plan.compress(module).restore().keys() == found.keys()


def test_steps_of_rows_follow_what_rows_matter():
    module = Wide()
    weights = Weights.from_module(module)
    found = calibrated_start(weights, module, Pairs(), target_of(), headroom=1.1, feeds_back=False)
    assert found.guided.compress(weights).nbytes == found.nbytes(weights) == pytest.approx(1.1 * target_of(), rel=0.1)
    exponents = found.guided.guidance["net.0.weight"].exponents.float()
    assert exponents[:16].mean() > exponents[-16:].mean() + 16  # half an octave finer
    assert module.training
    with pytest.raises(TrainingError, match="give a larger target"):
        calibrated_start(weights, module, Pairs(), 100)

    class Constant(Pairs):
        def loss(self, module, batch):
            return module.net[4].bias.sum()

    with pytest.raises(TrainingError, match="depends on no matrix"):
        calibrated_start(weights, module, Constant(), target_of())


def loss_of(module):
    return float(torch.stack([Pairs().loss(module, batch) for batch in Pairs()]).mean())


@torch.no_grad()
def test_points_to_begin_with_lose_less_than_the_nearest_ones_and_are_kept_by_their_file():
    module = Wide().eval()
    exact, weights = loss_of(module), Weights.from_module(module)
    before = {weight.name: weight.tensor.clone() for weight in weights}
    nearest = calibrated_start(weights, module, Pairs(), target_of(), feeds_back=False)
    fed = calibrated_start(weights, module, Pairs(), target_of())
    assert all(torch.equal(weight.tensor, before[weight.name]) for weight in weights)
    assert set(fed.points) == {name for name, tensor in before.items() if tensor.dim() > 1 and len(tensor) > 1}
    module.load_state_dict(nearest.guided.compress(weights).restore())
    rounded = loss_of(module)
    fed.load(weights)
    begun = loss_of(module)
    restored = fed.guided.compress(weights).restore()
    assert fed.nbytes(weights) == pytest.approx(nearest.nbytes(weights), rel=0.05)
    assert all(torch.equal(restored[name], point) for name, point in fed.points.items())
    assert abs(begun - exact) < 0.7 * abs(rounded - exact)


@pytest.mark.parametrize("start", [0, 2])
def test_a_training_begins_with_these_points_where_its_first_step_is_quantized(tmp_path, caplog, start):
    seen = []

    class Watched(Wide):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append(self.net[2].weight.detach().clone())

    module = Watched()
    exact = module.net[2].weight.detach().clone()
    quantize = QuantizeDuringTraining(calibration=Pairs(), target_bytes=target_of(), measure_every=3, start=start)
    with caplog.at_level(logging.INFO, logger="lightning_compress"):
        trainer(tmp_path, quantize, max_epochs=1).fit(module)
    assert torch.equal(seen[0], exact) == bool(start)
    assert ("the training begins with quantized weights in" in caplog.text) == (not start)


def test_outputs_alone_find_a_plan(tmp_path):
    class Outputs:
        def __iter__(self):
            return iter(loader())

        def outputs(self, module, batch):
            return module.net[:4](batch[0])

    quantize = QuantizeDuringTraining(calibration=Outputs(), target_bytes=target_of(), measure_every=3)
    trainer(tmp_path, quantize, max_epochs=1).fit(Wide())
    exponents = quantize.guided_plan.guidance["net.0.weight"].exponents
    assert len(set(exponents.tolist())) > 1


def test_a_resumed_run_takes_the_plan_of_its_checkpoint(tmp_path):
    def run(folder, epochs, source=None):
        module = Wide()
        save = ModelCheckpoint(folder, filename="{epoch}", save_on_train_epoch_end=True, save_top_k=-1)
        quantize = QuantizeDuringTraining(calibration=Pairs(), target_bytes=target_of(), measure_every=3)
        run = trainer(folder, quantize, save, max_epochs=2)
        if epochs == 1:
            run.limit_val_batches = 0
            run.fit_loop.max_epochs = 2
            save.on_train_epoch_end = _stop_after(save.on_train_epoch_end)
        run.fit(module, ckpt_path=source)
        return module.state_dict(), quantize.guided_plan

    whole, plan = run(tmp_path / "whole", 2)
    run(tmp_path / "parts", 1)
    resumed, same = run(tmp_path / "parts", 2, tmp_path / "parts" / "epoch=0.ckpt")
    assert same.plan == plan.plan
    for name, guide in plan.guidance.items():
        assert torch.equal(same.guidance[name].exponents, guide.exponents)
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0)


def _stop_after(hook):
    def stopping(trainer, module):
        hook(trainer, module)
        trainer.should_stop = True

    return stopping


def test_what_is_missing_or_given_twice_is_said(tmp_path, caplog):
    for arguments, message in (
        ({}, "neither a plan nor a target"),
        ({"plan": "half", "calibration": Pairs()}, "leave plan out, or calibration"),
        ({"target_ratio": 4, "calibration": [1]}, r"without outputs\(module, batch\) or loss"),
    ):
        with naming(arguments), pytest.raises(CallbackError, match=message):
            QuantizeDuringTraining(**arguments)
    with pytest.raises(CallbackError, match=r"add QuantizeDuringTraining"):
        trainer(tmp_path, CompressCheckpoint("trained")).fit(Wide())
    with caplog.at_level(logging.WARNING):
        trainer(tmp_path, QuantizeDuringTraining(target_ratio=4)).validate(Wide(), verbose=False)
    assert caplog.text.count("evaluate the compressed file") == 1
    guide = GridGuide(None, feedback_factor(torch.eye(4) + 0.5, 0.01))
    plan = Plan(Rule("*", Grid(0.1, trellis=0, rate_weight=0), Half()))
    with pytest.raises(PlanError, match="feeds errors back"):
        LatentWeights(Wide(), GuidedPlan(plan, {"net.0.weight": guide}))
