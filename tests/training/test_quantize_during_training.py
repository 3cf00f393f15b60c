"""What is trained is what is stored: by every method, with averages, accumulation, resume and several optimizers."""

from __future__ import annotations

import logging

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from small_trainings import Ordered, Recurrent, Small, StopAfter, Tied, TwoOptimizers, Vision, trainer
from torch.nn import functional as F

from lightning_compress import CompressCheckpoint, Plan, QuantizeDuringTraining, Rule, compress, load
from lightning_compress.errors import CallbackError, PlanError, TrainingError
from lightning_compress.plan import METHODS
from lightning_compress.prune import Prune
from lightning_compress.quantize import Binary, Grid, GroupWise, Half, Interval, KMeans, Logarithmic, Raw, Ternary
from lightning_compress.training import LatentWeights

pytestmark = pytest.mark.usefixtures("quick_coding")
CASES = {
    "interval": (Prune(0.3), Interval(3), Half()),
    "grid": (Grid(0.1, trellis=0, rate_weight=0),),
    "trellis": (Grid(0.1, trellis=4),),
    "k-means": (KMeans(4, outliers=0.1), Half()),
    "logarithmic": (Logarithmic(3),),
    "binary": (Binary(),),
    "ternary": (Ternary("tensor"),),
    "group-wise": (GroupWise(2, 8),),
    "half": (Half(),),
    "prune": (Prune(0.5), Half()),
    "raw": (Raw(),),
}


class Recorder(pl.Callback):
    """The weights that the module has in the forward passes of training and validation."""

    def __init__(self):
        self.trained, self.validated = [], {}

    def attach(self, module):
        def record(*_):
            state = {name: value.clone() for name, value in module.state_dict().items()}
            if module.training:
                self.trained.append(state)
            else:
                self.validated = state

        module.net.register_forward_pre_hook(record)


def plan_of(*methods):
    return Plan(Rule("*weight*", *methods), Rule("*", Half(), optional=True))


def fit(tmp_path, module, *callbacks, **options):
    recorder = Recorder()
    recorder.attach(module)
    run = trainer(tmp_path, *callbacks, **options)
    run.fit(module, ckpt_path=options.pop("ckpt_path", None))
    return recorder


def expect_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


def test_every_method_has_a_case():
    used = {method.id for methods in CASES.values() for method in methods}
    assert used | {"low-rank"} == set(METHODS)


def test_the_file_holds_the_weights_of_the_forward_pass(tmp_path):
    for name, methods in CASES.items():
        with naming(name):
            module, plan = Recurrent(), plan_of(*methods)
            recorder = fit(tmp_path, module, QuantizeDuringTraining(plan, refit_every=4), max_epochs=1)
            path = tmp_path / f"{name}.safetensors"
            compress(module, plan).save(path)
            expect_same(load(path), recorder.validated)


def test_averages_accumulation_ties_and_buffers_are_served(tmp_path):
    plan = plan_of(Interval(2, 1.0))
    named = Plan(Rule("*running*", Half()), Rule("*", Half()))
    for order, (name, make, extra, options) in enumerate(
        (
            ("average after", Recurrent, (EMAWeightAveraging(decay=0.5),), {}),
            ("average before", Recurrent, (EMAWeightAveraging(decay=0.5),), {}),
            ("accumulation", Small, (), {"accumulate_grad_batches": 2}),
            ("ties", Tied, (), {}),
            ("buffers", Vision, (), {}),
            ("bfloat16", Small, (), {"precision": "bf16-mixed"}),
            ("clipping", Small, (), {"gradient_clip_val": 0.1}),
        )
    ):
        with naming(name):
            folder = tmp_path / name
            ours = [QuantizeDuringTraining(plan), CompressCheckpoint(plan, on_error="raise")]
            save = ModelCheckpoint(folder, filename="last")
            callbacks = [*extra, *ours] if order % 2 else [*ours, *extra]
            recorder = fit(folder, make(), *callbacks, save, max_epochs=2, **options)
            expect_same(load(folder / "last.compressed.safetensors"), recorder.validated)
    with pytest.raises(PlanError, match=r"running_mean.*no parameter"):
        fit(tmp_path / "named", Vision(), QuantizeDuringTraining(named))


def test_training_steps_compute_with_few_values_and_latent_weights_stay_exact(tmp_path):
    module = Small()
    recorder = fit(tmp_path, module, QuantizeDuringTraining(plan_of(Ternary("tensor"))))
    for state in recorder.trained:
        assert len(state["net.0.weight"].unique()) <= 3
    assert len(module.net[0].weight.unique()) == module.net[0].weight.numel()


def test_several_optimizers_see_quantized_weights_in_every_forward_pass(tmp_path):
    recorder = fit(tmp_path, TwoOptimizers(), QuantizeDuringTraining(plan_of(Ternary("tensor"))))
    assert len(recorder.trained) == 2 * 12
    for state in recorder.trained:
        assert len(state["net.0.weight"].unique()) <= 3


def test_before_its_start_a_training_is_the_one_without_the_callback(tmp_path):
    plain, delayed = Small(), Small()
    torch.manual_seed(3)
    fit(tmp_path / "plain", plain)
    torch.manual_seed(3)
    fit(tmp_path / "delayed", delayed, QuantizeDuringTraining(plan_of(Binary()), start=100))
    expect_same(plain.state_dict(), delayed.state_dict())


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    grid = Grid(0.05, trellis=0, rate_weight=0)
    target = compress(Ordered(), plan_of(grid)).nbytes - 16
    for name, methods, options in (
        ("codebook", (KMeans(4),), {"refit_every": 5}),
        ("rate", (grid,), {"target_bytes": target, "measure_every": 5}),
    ):
        with naming(name):

            def run(part, *, steps, source=None, methods=methods, options=options, name=name):
                module, folder = Ordered(), tmp_path / name / part
                save = ModelCheckpoint(folder, filename="{epoch}", save_on_train_epoch_end=True, save_top_k=-1)
                callback = QuantizeDuringTraining(plan_of(*methods), **options)
                # The number of epochs stays, since the dial depends on the length of the run.
                stop = StopAfter(steps or 100)
                trainer(folder, callback, save, stop, max_epochs=3).fit(module, ckpt_path=source)
                return module.state_dict()

            whole = run("whole", steps=None)
            run("parts", steps=6)
            resumed = run("parts", steps=None, source=tmp_path / name / "parts" / "epoch=0.ckpt")
            expect_same(whole, resumed)


def test_a_changed_plan_is_refused_at_resume(tmp_path):
    save = ModelCheckpoint(tmp_path, filename="last")
    fit(tmp_path, Small(), QuantizeDuringTraining(plan_of(Binary())), save, max_epochs=1)
    with pytest.raises(CallbackError, match=r"binary.*this run has another"):
        trainer(tmp_path, QuantizeDuringTraining(plan_of(Ternary()))).fit(Small(), ckpt_path=tmp_path / "last.ckpt")


def test_what_cannot_be_trained_is_refused(tmp_path):
    class Lbfgs(Small):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    with pytest.raises(CallbackError, match="LBFGS"):
        fit(tmp_path, Lbfgs(), QuantizeDuringTraining("half"))
    for arguments, message in (
        ({"plan": "half", "target_ratio": 20}, "Grid"),
        ({"plan": plan_of(Grid(0.1)), "target_ratio": 20}, "trellis=0"),
        ({"plan": plan_of(Grid(0.1, trellis=0, rate_weight=0)), "target_ratio": 0.5}, "above 1"),
        ({"plan": plan_of(Grid(0.1, trellis=0, rate_weight=0)), "target_ratio": 2, "target_bytes": 9}, "leave one"),
        ({"plan": "half", "start": -1}, "start is -1"),
        ({"plan": "half", "refit_every": 0}, "refit_every is 0"),
    ):
        with naming(arguments), pytest.raises((CallbackError, PlanError), match=message):
            QuantizeDuringTraining(**arguments)


def test_nan_is_traced_to_the_step_that_made_it(tmp_path):
    class Diverging(Small):
        def training_step(self, batch, batch_idx):
            return F.mse_loss(self(batch[0]), batch[1]) * (float("nan") if batch_idx == 1 else 1)

    with pytest.raises(TrainingError, match=r"net\.0\.weight.*before it is quantized"):
        fit(tmp_path, Diverging(), QuantizeDuringTraining(plan_of(Interval(2))))


def test_a_method_that_fails_in_the_middle_leaves_the_latent_weights(monkeypatch):
    module = Small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    latent = LatentWeights(module, plan_of(Ternary("tensor")))
    quantize, calls = LatentWeights._quantized, []

    def failing(self, treated, fitted):
        calls.append(treated)
        if len(calls) == 2:
            raise ZeroDivisionError
        return quantize(self, treated, fitted)

    monkeypatch.setattr(LatentWeights, "_quantized", failing)
    with pytest.raises(ZeroDivisionError), latent.quantized():
        pass
    assert len(calls) == 2
    expect_same(module.state_dict(), before)


def test_another_plan_at_export_is_pointed_out(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        fit(tmp_path, Small(), QuantizeDuringTraining(plan_of(Binary())), CompressCheckpoint("half"), max_epochs=1)
    assert "Write CompressCheckpoint('trained')" in caplog.text
