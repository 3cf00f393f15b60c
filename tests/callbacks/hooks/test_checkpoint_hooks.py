"""The hooks alone: which events of Lightning's checkpoints a listener receives, without any compression."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, trainer

from lightning_compress.callbacks.hooks import checkpoint_hooks


class Recorder(pl.Callback):
    """Records the events; lets Lightning load everything itself, unless it has an answer."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []
        self.answer = None

    def setup(self, trainer, pl_module, stage):
        checkpoint_hooks.attach(trainer, self)

    def before_save(self, trainer, checkpoint, path):
        assert set(checkpoint["state_dict"]) == set(trainer.lightning_module.state_dict())
        self._record("before save", path)
        return path

    def after_save(self, trainer, job):
        self._record("after save", job)

    def after_link(self, trainer, target, link):
        self._record("linked", target, link)

    def before_remove(self, trainer, path):
        assert Path(path).exists()
        self._record("before remove", path)

    def load(self, trainer, path):
        self._record("load", path)
        return self.answer

    def restore(self, trainer, checkpoint, strict):
        self._record("restore", str(strict))
        return self.answer is not None

    def _record(self, event, *paths):
        self.events.append((event, *(path.rpartition("/")[2] for path in paths)))


def _newest_only(folder, **options):
    return ModelCheckpoint(folder, filename="{epoch}", **options)


def test_each_save_and_delete_is_reported_once_and_in_order(tmp_path):
    recorder = Recorder()
    trainer(tmp_path, recorder, _newest_only(tmp_path), max_epochs=2).fit(Small())
    assert recorder.events == [
        ("before save", "epoch=0.ckpt"),
        ("after save", "epoch=0.ckpt"),
        ("before save", "epoch=1.ckpt"),
        ("after save", "epoch=1.ckpt"),
        ("before remove", "epoch=0.ckpt"),
    ]


def test_a_link_is_reported_and_a_copy_is_a_save(tmp_path):
    recorder = Recorder()
    links, copies = tmp_path / "links", tmp_path / "copies"
    by_link, by_copy = _newest_only(links, save_last="link"), _newest_only(copies, save_last=True, monitor="val_loss")
    trainer(tmp_path, recorder, by_link, by_copy, max_epochs=1).fit(Small())
    assert recorder.events == [
        ("before save", "epoch=0.ckpt"),
        ("after save", "epoch=0.ckpt"),
        ("linked", "epoch=0.ckpt", "last.ckpt"),
        ("before save", "epoch=0.ckpt"),
        ("after save", "epoch=0.ckpt"),
        ("before save", "last.ckpt"),
        ("after save", "last.ckpt"),
    ]


def test_a_save_is_reported_before_and_after_the_file_is_written(tmp_path):
    seen = []

    class Looks(Recorder):
        def before_save(self, trainer, checkpoint, path):
            seen.append((tmp_path / "a.ckpt").exists())

        def after_save(self, trainer, job):
            seen.append((tmp_path / "a.ckpt").exists())

    run = trainer(tmp_path, Looks(), enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert seen == [False, True]


def test_attaching_again_changes_nothing_even_with_two_listeners(tmp_path):
    first, second = Recorder(), Recorder()
    run = trainer(tmp_path, first, second, enable_checkpointing=False, max_epochs=1)
    module = Small()
    for _ in range(3):
        run.validate(module, verbose=False)
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert first.events == second.events == [("before save", "a.ckpt"), ("after save", "a.ckpt")]


def test_a_listener_that_left_the_trainer_is_not_called(tmp_path):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.callbacks.remove(recorder)
    run.save_checkpoint(tmp_path / "a.ckpt")
    run.strategy.remove_checkpoint(tmp_path / "a.ckpt")
    assert recorder.events == []
    assert list(tmp_path.iterdir()) == []


def test_a_strategy_of_another_trainer_calls_only_the_callbacks_of_that_one(tmp_path):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    other = trainer(tmp_path, enable_checkpointing=False, strategy=run.strategy, accelerator="auto", max_epochs=1)
    other.fit(Small())
    other.save_checkpoint(tmp_path / "b.ckpt")
    assert recorder.events == []
    assert (tmp_path / "b.ckpt").exists()


def test_an_error_of_the_original_method_is_raised_and_after_save_is_not_called(tmp_path):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    with pytest.raises(TypeError, match="storage_options"):
        run.save_checkpoint(tmp_path / "a.ckpt", storage_options={})
    assert recorder.events == [("before save", "a.ckpt")]


@pytest.mark.parametrize("lightning_reads", [True, False])
def test_loading_asks_the_listener_first(tmp_path, lightning_reads):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    module = Small()
    run.fit(module)
    run.save_checkpoint(tmp_path / "a.ckpt")
    recorder.events.clear()
    if not lightning_reads:
        recorder.answer = {"pytorch-lightning_version": pl.__version__, "state_dict": {}}
    before = pickle.dumps(module.net.state_dict())
    torch.nn.init.zeros_(module.net[0].weight)
    run.test(module, ckpt_path=tmp_path / "a.ckpt", verbose=False)
    assert recorder.events == [("load", "a.ckpt"), ("restore", "True")]
    assert (pickle.dumps(module.net.state_dict()) == before) is lightning_reads
    assert bool(module.net[0].weight.any()) is lightning_reads
