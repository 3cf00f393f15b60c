"""``LayerSensitivity``: what it measures, writes and logs at each moment, and a training that notices nothing."""

from __future__ import annotations

import json
import logging
from typing import ClassVar

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from small_trainings import Recurrent, Small, Tied, Vision, loader, names, trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics import CatMetric, MeanMetric, MeanSquaredError

from lightning_compress import CompressCheckpoint, Interval, LayerSensitivity, Prune
from lightning_compress.callbacks import sensitivity
from lightning_compress.callbacks.hooks.batch_losses import has_loss
from lightning_compress.callbacks.moments import Moments
from lightning_compress.errors import CompressionError, SearchError
from lightning_compress.search import LayerSensitivities

FEW = [0.5, Interval(2)]
pytestmark = pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled.*")


class WithLoss(Small):
    """Has its loss as a method of one batch, and notes what is asked of it, outside of what is put back."""

    losses: ClassVar[list[bool]] = []
    steps: ClassVar[list[int]] = []

    def loss(self, batch, *, weight: float = 1.0):
        self.losses.append(torch.is_grad_enabled())
        self.log("seen", 1.0)
        return weight * F.mse_loss(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.steps.append(batch_idx)
        super().validation_step(batch, batch_idx)


class Metered(Small):
    """Keeps metrics and lists between validations, draws random numbers, and shuffles its data on both sides."""

    def __init__(self) -> None:
        super().__init__(16)
        self.error, self.mean, self.all = MeanSquaredError(), MeanMetric(), CatMetric()
        self.collected: list[float] = []
        self.validations = 0
        self.order: list[float] = []
        self.generator = torch.Generator().manual_seed(11)

    def training_step(self, batch, batch_idx):
        self.order.append(float(batch[0].sum()))
        self.mean.update(float(batch[0].sum()))
        return super().training_step(batch, batch_idx)

    def on_validation_epoch_start(self):
        self.validations += 1

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.order.append(float(torch.rand(())))
        self.order.append(float(x.sum()))
        self.error(self(x), y)
        self.all.update(self(x).mean())
        self.collected.append(F.mse_loss(self(x), y).item())
        self.log("val_error", self.error, on_epoch=True)
        self.log("val_loss", F.mse_loss(self(x), y))

    def on_validation_epoch_end(self):
        self.log("collected", sum(self.collected) / len(self.collected))
        self.collected.clear()

    def val_dataloader(self):
        return DataLoader(loader().dataset, batch_size=4, shuffle=True, generator=self.generator)


def checkpoint(folder, **options):
    return ModelCheckpoint(folder, filename="{epoch}", **{"monitor": "val_loss", "save_top_k": -1, **options})


def written(folder):
    return LayerSensitivities.from_json((folder / "sensitivity.json").read_text(encoding="utf-8"))


def errors(caplog):
    """Errors and warnings of ours."""
    ours = [r for r in caplog.records if r.name.startswith("lightning_compress")]
    return [r.getMessage() for r in ours if r.levelno >= logging.WARNING]


# A training that notices nothing


def _train(folder, module, *callbacks, average=False):
    torch.manual_seed(3)
    made = module()
    extra = [EMAWeightAveraging(decay=0.5)] if average else []
    run = trainer(folder, *extra, *callbacks, checkpoint(folder, save_last=True), max_epochs=2)
    run.fit(made)
    return run, made, {name: t.clone() for name, t in made.state_dict().items()}, torch.get_rng_state()


TRAININGS = [(m, False) for m in (WithLoss, Vision, Recurrent, Tied, Metered)] + [(m, True) for m in (Vision, Metered)]


@pytest.mark.parametrize(("module", "average"), TRAININGS, ids=lambda part: getattr(part, "__name__", part))
def test_the_training_is_the_same_as_without_it(tmp_path, module, average, caplog):
    plain, alone, state, rng = _train(tmp_path / "plain", module, average=average)
    callback = LayerSensitivity(FEW, when=("end", "save", 1))
    run, made, after, rng_after = _train(tmp_path / "measured", module, callback, average=average)
    assert errors(caplog) == []
    assert callback.result is not None
    assert all(torch.equal(tensor, after[name]) for name, tensor in state.items())
    assert torch.equal(rng, rng_after)
    assert run.global_step == plain.global_step
    assert run.callback_metrics == plain.callback_metrics
    assert made.training == alone.training
    assert [p.requires_grad for p in made.parameters()] == [p.requires_grad for p in alone.parameters()]
    if module is Metered:
        assert made.order == alone.order
        assert made.validations == alone.validations
        assert made.mean.compute() == alone.mean.compute()
        assert torch.equal(made.all.compute(), alone.all.compute())
        assert made.error._update_count == alone.error._update_count
        assert torch.equal(made.generator.get_state(), alone.generator.get_state())
    saved = names(tmp_path / "plain", ".ckpt")
    assert saved == names(tmp_path / "measured", ".ckpt")
    for name in saved:
        first, second = (
            torch.load(tmp_path / kind / name, weights_only=False, map_location="cpu") for kind in ("plain", "measured")
        )
        assert all(torch.equal(t, second["state_dict"][n]) for n, t in first["state_dict"].items())
        moments = [s["optimizer_states"][0]["state"] for s in (first, second)]
        assert all(torch.equal(moments[0][k]["exp_avg"], moments[1][k]["exp_avg"]) for k in moments[0])
        assert first["global_step"] == second["global_step"]


# What is measured


def test_while_training_the_loss_and_at_the_end_what_checkpoints_are_chosen_by(tmp_path):
    measured = []

    class Noting(LayerSensitivity):
        def _measure(self, trainer, state, measure):
            super()._measure(trainer, state, measure)
            measured.append((self.result.measure, self.result.higher_is_better, self.result.step))

    saving = checkpoint(tmp_path, monitor="score", mode="max")
    run = trainer(tmp_path, Noting(FEW, when=("end", 1)), saving, max_epochs=2)
    run.fit(Small())
    assert measured == [("val_loss", False, 4), ("val_loss", False, 8), ("score", True, 8)]
    assert written(tmp_path).baseline == pytest.approx(0.7)  # what the module answers once two epochs are over


def test_the_loss_is_that_of_lightnings_validation(tmp_path):
    callback = LayerSensitivity(FEW, measure="loss")
    run = trainer(tmp_path, callback, max_epochs=1)
    module = Small()
    run.fit(module)
    result = callback.result
    assert result.measure == "val_loss"
    assert result.baseline == pytest.approx(float(run.callback_metrics["val_loss"]), rel=1e-5)
    assert result.groups == ("net.0",)
    assert result.raw_bytes == (4 * sum(p.numel() for p in module.parameters()),)
    assert set(result.rank_correlation) == {"normalized error", "Fisher error"}


def test_a_module_with_a_loss_of_a_batch_takes_one_forward_pass_a_point(tmp_path):
    module = WithLoss()
    module.losses.clear(), module.steps.clear()
    callback = LayerSensitivity([0.3, 0.6], groups="tensor", measure="loss", batches=3)
    run = trainer(tmp_path, callback, max_epochs=1)
    run.fit(module)
    assert len(module.steps) == 4  # those of the training's one validation
    bias = callback.result.groups.index("net.3.bias")  # one weight, of which nothing is pruned: not measured again
    assert np.array_equal(callback.result.scores[bias], [callback.result.baseline] * 2)
    assert module.losses.count(False) == 3 * (1 + 3 * 2)
    assert module.losses.count(True) == 1 + 3
    assert "seen" not in run.callback_metrics
    assert callback.result.measure == "loss"
    batches = [batch for number, batch in enumerate(module.val_dataloader()) if number < 3]
    with torch.no_grad():
        expected = sum(float(F.mse_loss(module.eval()(x), y)) for x, y in batches) / 3
    assert callback.result.baseline == pytest.approx(expected, rel=1e-5)


def test_the_first_batches_are_taken_each_time(tmp_path):
    class Seeing(Small):
        def validation_step(self, batch, batch_idx):
            seen.append(round(float(batch[0].sum()), 4))
            super().validation_step(batch, batch_idx)

        def val_dataloader(self):
            shuffled = torch.Generator().manual_seed(2)
            return DataLoader(loader().dataset, batch_size=4, shuffle=True, generator=shuffled)

    seen = []
    trainer(tmp_path, LayerSensitivity([0.5], measure="loss", batches=2), max_epochs=1).fit(Seeing())
    assert len(seen) == 4 + 2 * 2 + 1 + 2  # Lightning's four, two points, and what gradients are taken of
    measured = seen[4:]
    assert len({tuple(measured[k : k + 2]) for k in (3, 5)}) == 1
    assert set(measured) == set(measured[3:5])


def test_an_evaluation_of_ones_own(tmp_path):
    calls = []

    def evaluate(module):
        calls.append(module.training)
        return -float(sum(F.mse_loss(module(x), y) for x, y in loader()))

    callback = LayerSensitivity(FEW, groups={"first": "net.0.*"}, evaluate=evaluate, measure="goodness")
    trainer(tmp_path, callback, max_epochs=1).fit(Small())
    assert calls == [False] * 3
    assert (callback.result.measure, callback.result.higher_is_better) == ("goodness", True)
    assert callback.result.groups == ("first",)
    assert np.array_equal(callback.result.drops, callback.result.baseline - callback.result.scores)


class Answering:
    def __iter__(self):
        return iter(loader())

    def loss(self, module, batch):
        return F.mse_loss(module(batch[0]), batch[1])


def test_calibration_in_place_of_validation_data(tmp_path):
    class Unvalidated(Small):
        validation_step = None
        val_dataloader = None

    callback = LayerSensitivity(FEW, calibration=Answering())
    run = trainer(tmp_path, callback, max_epochs=1, limit_val_batches=0)
    run.fit(Unvalidated())
    assert callback.result.measure == "loss"
    assert "Fisher error" in callback.result.estimates


def test_saved_weights_are_measured_once_and_averaged_ones_as_they_are_saved(tmp_path, monkeypatch):
    seen = []
    original = sensitivity.layer_sensitivities

    def noting(module, *arguments, weights, **options):
        seen.append(weights.fingerprint)
        return original(module, *arguments, weights=weights, **options)

    monkeypatch.setattr(sensitivity, "layer_sensitivities", noting)
    callback = LayerSensitivity(FEW, when="save", measure="loss")
    run = trainer(tmp_path, EMAWeightAveraging(decay=0.5), callback, checkpoint(tmp_path, save_last=True))
    run.fit(Small())
    assert len(seen) == len(set(seen)) == 3
    assert len(names(tmp_path, ".ckpt")) == 4


def test_only_the_saves_that_are_best_are_measured(tmp_path):
    steps = []

    class Noting(LayerSensitivity):
        def _measure(self, *arguments):
            super()._measure(*arguments)
            steps.append(self.result.step)

    saving = checkpoint(tmp_path, monitor="score", save_last=True)
    trainer(tmp_path, Noting(FEW, when="best", measure="loss"), saving, max_epochs=4).fit(Small())
    assert steps == [4, 8, 16]  # the scores are 0.9, 0.5, 0.7, 0.3, and less is better


def test_several_loaders_and_a_loss_named_by_its_loader(tmp_path):
    class TwoLoaders(Small):
        def val_dataloader(self):
            return [loader(), loader()]

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("val_loss", F.mse_loss(self(batch[0]), batch[1]) * (1 + dataloader_idx))

    callback = LayerSensitivity(FEW, measure="loss")
    run = trainer(tmp_path, callback, max_epochs=1)
    run.fit(TwoLoaders())
    assert callback.result.measure.startswith("val_loss/dataloader_idx_")
    assert callback.result.baseline == pytest.approx(float(run.callback_metrics[callback.result.measure]), rel=1e-5)
    assert "Fisher error" in callback.result.estimates


# What is written and logged


def test_it_stands_beside_the_checkpoints_or_where_they_would_be(tmp_path):
    trainer(tmp_path, LayerSensitivity(FEW, measure="loss"), checkpoint(tmp_path / "saved"), max_epochs=1).fit(Small())
    assert names(tmp_path, "sensitivity.json") == {"saved/sensitivity.json"}
    apart = tmp_path / "apart"
    options = {"max_epochs": 1, "enable_checkpointing": False}
    trainer(apart, LayerSensitivity(FEW, measure="loss"), **options).fit(Small())
    assert written(apart).step == 4
    trainer(apart, LayerSensitivity([0.1], measure="loss"), **options).fit(Small())
    assert [s.label for s in written(apart).strengths] == ["prune 10 %"]


def test_a_file_of_another_program_stays(tmp_path, caplog):
    (tmp_path / "sensitivity.json").write_text('{"mine": 1}')
    callback = LayerSensitivity(FEW, measure="loss")
    run = trainer(tmp_path, callback, max_epochs=1, enable_checkpointing=False)
    run.fit(Small())
    assert json.loads((tmp_path / "sensitivity.json").read_text()) == {"mine": 1}
    assert "the sensitivity of layers was not written, the training goes on" in errors(caplog)[0]
    assert callback.result is not None


def test_scalars_table_and_pictures_are_logged(tmp_path):
    csv = CSVLogger(tmp_path)
    callback = LayerSensitivity([0.5, Interval(2)], groups="tensor", measure="loss", tolerance=1e9)
    trainer(tmp_path, callback, logger=csv, max_epochs=1).fit(Small())
    folder = tmp_path / "lightning_logs" / "version_0"
    header = (folder / "metrics.csv").read_text(encoding="utf-8").split("\n")[0].split(",")
    assert {
        "sensitivity/baseline",
        "sensitivity/net.0.weight/prune_50",
        "sensitivity/net.0.weight/2_bits",
        "sensitivity/largest_ratio/net.3.bias",
        "sensitivity/rank_correlation/Fisher_error",
    } <= set(header)
    assert names(folder / "sensitivity", "") == {"table", "table/3.csv"}


# Bad input


WRONG = [
    ({"strengths": []}, "strengths is empty"),
    ({"strengths": [2.0]}, "takes a fraction from 0 to 1"),
    ({"groups": "layer"}, "groups is 'layer'"),
    ({"when": "always"}, "when='always' is not known: write 'end', 'save', 'best', a whole number n"),
    ({"when": 0}, "when=0 is not known"),
    ({"when": (1, 2)}, r"when=\(1, 2\) is not known"),
    ({"when": True}, "when=True is not known"),
    ({"when": ()}, r"when=\(\) is not known"),
    ({"mode": "up"}, "mode='up' is not known"),
    ({"measure": ""}, "measure is ''"),
    ({"batches": 0}, "batches is 0"),
    ({"tolerance": -1}, "tolerance is -1"),
    ({"evaluate": 3}, "evaluate is 3"),
    ({"calibration": [1]}, r"calibration is a list without loss\(module, batch\)"),
]


@pytest.mark.parametrize(("options", "told"), WRONG, ids=[str(options) for options, _ in WRONG])
def test_wrong_arguments_are_refused_at_once(options, told):
    with pytest.raises(CompressionError, match=told):
        LayerSensitivity(**options)


def test_moments():
    assert Moments.measurement("end") == Moments(saves=None, end=True, epochs=0)
    assert Moments.measurement(["save", 3]) == Moments(saves="all", end=False, epochs=3)
    assert Moments.measurement("best") == Moments(saves="best", end=False, epochs=0)
    assert [epoch for epoch in range(9) if Moments.measurement(3).is_after(epoch)] == [2, 5, 8]
    assert not any(Moments.measurement("end").is_after(epoch) for epoch in range(9))


class Unvalidated(Small):
    def validation_step(self, batch, batch_idx):
        self.log("val_accuracy", 0.5)


def _raise(_):
    raise RuntimeError("no references")


GOES_ON = {
    "never validated": (Small, {"measure": "val_loss"}, {"limit_val_batches": 0}, "there is no validation data yet"),
    "no loss is logged": (
        Unvalidated, {"measure": "loss"}, {}, "the validation logs no loss, only train_loss, val_accuracy: give",
    ),
    "a metric never logged": (
        Small, {"measure": "val_bleu", "mode": "max"}, {},
        "validation does not log 'val_bleu', it logs score, val_loss: correct the name of the metric, or give evaluate",
    ),
    "a metric of unknown mode": (Small, {"measure": "score"}, {}, "whether more of 'score' is better is not known"),
    "a pattern": (Small, {"groups": {"a": "attention*"}}, {}, r"pattern 'attention\*' matches none of the 4"),
    "an evaluation that raises": (
        Small, {"evaluate": _raise}, {}, "evaluate failed on the exact weights with RuntimeError: no references",
    ),
    "NaN": (Small, {"evaluate": lambda _: float("nan")}, {}, "evaluate gave NaN for the exact weights"),
    "exclude": (Small, {"exclude": ["teacher.*"]}, {}, r"exclude pattern 'teacher\.\*' matches none"),
    "classes": (Small, {"classes": {"a": "b"}}, {}, "class 'a': pattern 'b' matches none"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "options", "settings", "told"), GOES_ON.values(), ids=GOES_ON)
def test_what_cannot_be_measured_is_logged_and_the_training_continues(
    tmp_path, caplog, module, options, settings, told
):
    run = trainer(tmp_path, LayerSensitivity(FEW, when=(1,), **options), max_epochs=2, **settings)
    run.fit(module())
    assert run.global_step == 8
    assert names(tmp_path, "sensitivity.json") == set()
    assert len(errors(caplog)) == 2
    with pytest.raises(SearchError, match=told):
        raise SearchError(errors(caplog)[0])


def test_weights_are_put_back_before_an_interruption_goes_on(tmp_path):
    calls = []

    def evaluate(module):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 1.0

    plain, module = Small(), Small()
    torch.manual_seed(3)
    trainer(tmp_path, max_epochs=1, enable_checkpointing=False).fit(plain)
    torch.manual_seed(3)
    run = trainer(tmp_path, LayerSensitivity(FEW, when=1, evaluate=evaluate), max_epochs=1, enable_checkpointing=False)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run.fit(module)
    assert len(calls) == 2
    assert all(torch.equal(t, module.state_dict()[name]) for name, t in plain.state_dict().items())


def test_it_lives_beside_the_compressing_callback(tmp_path, caplog):
    both = [CompressCheckpoint("half", on_error="raise"), LayerSensitivity(FEW, when=("save", "end"), measure="loss")]
    trainer(tmp_path, *both, checkpoint(tmp_path), max_epochs=2).fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {
        "epoch=0.compressed.safetensors",
        "epoch=1.compressed.safetensors",
    }
    assert errors(caplog) == []


def test_sharded_modules_are_not_measured_and_the_training_goes_on(tmp_path, caplog):
    module = Small()
    module.net[0].__class__ = type("FullyShardedDataParallel", (torch.nn.Linear,), {})
    callback = LayerSensitivity(FEW)
    run = trainer(tmp_path, callback, max_epochs=1)
    run.fit(module)
    assert run.global_step > 0
    assert callback.result is None
    assert caplog.text.count("which is sharded here: leave it out") == 1


def test_only_a_method_of_one_batch_is_a_loss():
    class Criterion(Small):
        def __init__(self):
            super().__init__()
            self.loss = torch.nn.MSELoss()

    class OfTwo(Small):
        def loss(self, answer, target):
            return answer - target

    class OfNone(Small):
        def loss(self):
            return 0

    class Inherited(WithLoss):
        pass

    assert has_loss(WithLoss())
    assert has_loss(Inherited())
    assert not any(has_loss(made()) for made in (Small, Criterion, OfTwo, OfNone))


def test_a_bar_is_shown_where_the_trainer_shows_one(tmp_path, monkeypatch):
    shown = []
    original = sensitivity.layer_sensitivities

    def noting(*arguments, progress, **options):
        shown.append(progress)
        return original(*arguments, progress=progress, **options)

    monkeypatch.setattr(sensitivity, "layer_sensitivities", noting)
    for wanted in (False, True):
        run = trainer(tmp_path, LayerSensitivity(FEW, measure="loss"), max_epochs=1, enable_progress_bar=wanted)
        run.fit(Small())
    assert shown == [False, True]


def test_strengths_of_methods_reach_the_file(tmp_path):
    callback = LayerSensitivity([Prune(0.5, "class-uniform"), [Prune(0.5), Interval(3)]], measure="loss")
    trainer(tmp_path, callback, max_epochs=1, enable_checkpointing=False).fit(Small())
    assert [s.label for s in written(tmp_path).strengths] == ["prune 50 %", "prune 50 % + 3 bits"]
    assert logging.getLogger("lightning_compress").handlers == []
