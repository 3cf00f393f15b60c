"""The training is not touched, and modules of every kind export what their checkpoint holds."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import (
    EMAWeightAveraging,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
)
from pytorch_lightning.tuner import Tuner
from rich.console import Console
from small_trainings import (
    Compiled,
    Recurrent,
    Small,
    Tied,
    TwoOptimizers,
    Vision,
    expect_partners,
    expect_same_weights,
    loader,
    names,
    trainer,
)
from torchmetrics import MeanMetric

from lightning_compress import compress, load, load_from_checkpoint
from lightning_compress.archive import Archive
from lightning_compress.callbacks import CompressCheckpoint

pytestmark = pytest.mark.usefixtures("quick_coding")


def _each_epoch(folder, **options):
    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, **options)


class Drawing(Small):
    """A module whose own hook draws from every generator."""

    def compression_assets(self):
        return {"noise": bytes([random.randrange(256), np.random.randint(256), int(torch.randint(256, ()))])}  # noqa: NPY002


def _train(folder, *callbacks, module=Drawing):
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    model = module()
    run = trainer(folder, *callbacks, _each_epoch(folder, save_last=True, monitor="val_loss"))
    run.fit(model)
    return {
        "weights": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1],  # noqa: NPY002
        "metrics": run.callback_metrics,
        "steps": (run.global_step, run.fit_loop.epoch_loop._batches_that_stepped),
        "checkpoint": torch.load(folder / "last.ckpt", weights_only=True)["state_dict"],
        "grad enabled": torch.is_grad_enabled(),
        "training": [part.training for part in model.modules()],
    }


@pytest.mark.parametrize("module", [Drawing, Vision, TwoOptimizers])
def test_a_run_with_the_callback_is_bit_for_bit_the_run_without(tmp_path, module):
    plain = _train(tmp_path / "plain", module=module)
    for number, options in enumerate(({}, {"when": "best"}, {"on_error": "raise"})):
        with naming(options):
            compressed = _train(tmp_path / f"{number}", CompressCheckpoint(**options), module=module)
            assert names(tmp_path / f"{number}", ".compressed.safetensors")
            for what, value in plain.items():
                torch.testing.assert_close(compressed[what], value, rtol=0, atol=0, msg=what)


@pytest.mark.parametrize("module", [Small, Vision, TwoOptimizers, Recurrent, Tied, Compiled])
@pytest.mark.parametrize("plan", ["half", "paper-transformer", "paper-rnn"])
def test_any_module_exports_and_loads_again(tmp_path, module, plan):
    run = trainer(tmp_path, CompressCheckpoint(plan, on_error="raise"), _each_epoch(tmp_path), max_epochs=2)
    run.fit(module())
    assert names(tmp_path, ".compressed.safetensors") == {
        "epoch=0.compressed.safetensors",
        "epoch=1.compressed.safetensors",
    }
    if plan == "half":
        expect_partners(tmp_path)
    stored = load(tmp_path / "epoch=1.compressed.safetensors")
    again = load_from_checkpoint(module, tmp_path / "epoch=1.compressed.safetensors")
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, stored[name])


def test_tied_weights_are_stored_once_and_come_back_tied(tmp_path):
    trainer(tmp_path, CompressCheckpoint("half"), _each_epoch(tmp_path), max_epochs=1).fit(Tied())
    archive = Archive.open(tmp_path / "epoch=0.compressed.safetensors")
    shared = {"first.weight", "second.weight", "net.0.weight", "net.2.weight"}
    assert len(shared & {entry.name for entry in archive.manifest.entries}) == 1
    tensors = archive.restore()
    assert tensors["second.weight"].data_ptr() == tensors["first.weight"].data_ptr()
    again = load_from_checkpoint(Tied, tmp_path / "epoch=0.compressed.safetensors")
    assert again.second.weight is again.first.weight


def test_the_averaged_weights_of_the_checkpoint_are_exported_not_the_live_ones(tmp_path):
    module = Small()
    run = trainer(tmp_path, EMAWeightAveraging(decay=0.5), CompressCheckpoint("half"), _each_epoch(tmp_path))
    run.fit(module)
    expect_partners(tmp_path)
    state = torch.load(tmp_path / "epoch=2.ckpt", weights_only=True)
    assert not torch.equal(state["state_dict"]["net.0.weight"], state["current_model_state"]["net.0.weight"])


def test_weights_that_lightning_averages_itself_are_followed(tmp_path):
    averaging = StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1)
    run = trainer(tmp_path, averaging, CompressCheckpoint("half"), _each_epoch(tmp_path, save_last=True))
    run.fit(Small())
    expect_partners(tmp_path)


@pytest.mark.parametrize("weights_only", [False, True])
def test_pruned_weights_are_exported_without_their_masks(tmp_path, weights_only):
    module = Small()
    pruning = ModelPruning("l1_unstructured", parameters_to_prune=[(module.net[0], "weight")], amount=0.5)
    checkpoints = _each_epoch(tmp_path, save_weights_only=weights_only)
    trainer(tmp_path, pruning, CompressCheckpoint("half"), checkpoints, max_epochs=1).fit(module)
    stored = load(tmp_path / "epoch=0.compressed.safetensors")
    assert set(stored) == set(Small().state_dict())
    assert int((stored["net.0.weight"] == 0).sum()) == 16
    kept = torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["state_dict"]
    assert ("net.0.weight_mask" in kept) is weights_only


def test_metrics_and_what_the_module_names_are_left_out_and_assets_taken_along(tmp_path):
    class Speaking(Small):
        def __init__(self) -> None:
            super().__init__()
            self.running = MeanMetric()
            self.running.persistent(True)
            self.teacher = torch.nn.Linear(2, 2)
            self.helper = torch.nn.Linear(2, 2)

        def compression_exclude(self):
            return ["teacher.*"]

        def compression_assets(self):
            return {"vocabulary.txt": b"der die das"}

    compress = CompressCheckpoint("half", exclude=["helper.*"], classes={"head": "net.3.*"})
    trainer(tmp_path, compress, _each_epoch(tmp_path), max_epochs=1).fit(Speaking())
    archive = Archive.open(tmp_path / "epoch=0.compressed.safetensors")
    left_out = {name.partition(".")[0] for name in archive.manifest.excluded}
    assert left_out == {"running", "teacher", "helper"}
    assert archive.assets() == {"vocabulary.txt": b"der die das"}
    classes = {entry.name: entry.class_name for entry in archive.manifest.entries}
    assert classes["net.3.weight"] == "head"


def test_hyper_parameters_and_class_travel_along(tmp_path):
    trainer(tmp_path, CompressCheckpoint("half"), _each_epoch(tmp_path), max_epochs=1).fit(Small(width=5))
    manifest = Archive.open(tmp_path / "epoch=0.compressed.safetensors").manifest
    assert manifest.hyper_parameters["width"] == 5
    assert manifest.class_path == f"{Small.__module__}.Small"


def test_equal_weights_are_compressed_once_and_copied(tmp_path, monkeypatch):
    from lightning_compress.compression import guided_plan

    calls = []

    def counted(weights, *arguments, **options):
        calls.append(weights.fingerprint)
        return original(weights, *arguments, **options)

    original = guided_plan.compress
    monkeypatch.setattr(guided_plan, "compress", counted)
    both = _each_epoch(tmp_path, save_last=True, monitor="val_loss")
    trainer(tmp_path, CompressCheckpoint("half"), both, max_epochs=2).fit(Small())
    assert len(calls) == len(set(calls)) == 2
    newest, last = tmp_path / "epoch=1.compressed.safetensors", tmp_path / "last.compressed.safetensors"
    assert newest.read_bytes() == last.read_bytes()
    assert not last.is_symlink()


@pytest.mark.parametrize("put", ["nothing of ours", "other weights"])
def test_the_copy_is_made_anew_where_its_source_is_another_file_now(tmp_path, put):
    run = trainer(tmp_path, CompressCheckpoint("half"), enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(tmp_path / "a.ckpt")
    if put == "other weights":
        compress(Small(), "half").save(tmp_path / "a.compressed.safetensors")
    else:
        (tmp_path / "a.compressed.safetensors").write_bytes(b"damaged")
    run.save_checkpoint(tmp_path / "b.ckpt")
    expect_same_weights(tmp_path / "b.ckpt", tmp_path / "b.compressed.safetensors")


def test_the_tuners_temporary_checkpoints_have_no_file(tmp_path):
    class Learning(Small):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.01
            self.batch_size = 4

        def train_dataloader(self):
            return loader(shuffle=True)

    compress = CompressCheckpoint("half", on_error="raise")
    exports = []
    compress._export = lambda trainer, state, path: exports.append(path)
    run = trainer(tmp_path, compress, enable_checkpointing=False, max_epochs=1)
    Tuner(run).lr_find(Learning(), num_training=3)
    assert exports == []
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_finds_its_learning_rate_first_exports_afterwards(tmp_path):
    class Learning(Small):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.01

    finder = LearningRateFinder(num_training_steps=3)
    run = trainer(tmp_path, finder, CompressCheckpoint("half"), _each_epoch(tmp_path), max_epochs=1)
    run.fit(Learning())
    assert expect_partners(tmp_path) == {"epoch=0.ckpt"}


def test_fast_dev_run_writes_nothing(tmp_path):
    trainer(tmp_path, CompressCheckpoint("half"), fast_dev_run=True).fit(Small())
    assert list(tmp_path.iterdir()) == []


def test_the_callback_keeps_no_state_in_the_checkpoint(tmp_path):
    trainer(tmp_path, CompressCheckpoint("half"), _each_epoch(tmp_path), max_epochs=1).fit(Small())
    checkpoint = torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)
    assert not [key for key in checkpoint["callbacks"] if "Compress" in key]


@pytest.mark.parametrize("shown", [True, False])
def test_a_terminal_shows_that_a_checkpoint_is_compressed_where_the_trainer_shows_progress(
    tmp_path, monkeypatch, shown
):
    out = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, force_terminal=True, width=120))
    callbacks = (_each_epoch(tmp_path), CompressCheckpoint("half"))
    trainer(tmp_path, *callbacks, max_epochs=1, enable_progress_bar=shown).fit(Small(), loader())
    assert ("compressing the checkpoint" in out.getvalue()) == shown
    expect_partners(tmp_path)
