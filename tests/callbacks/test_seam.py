"""The seam alone: what a listener hears of Lightning's checkpoints, without any compression."""

from __future__ import annotations

import pickle

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, trainer

from lightning_compress.callbacks.hooks import checkpoint_hooks as seam


class Recorder(pl.Callback):
    """Writes down what it hears; lets Lightning load everything itself, unless told to answer."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.answer = None

    def setup(self, trainer, pl_module, stage):
        seam.attach(trainer, self)

    def saving(self, strategy, checkpoint, path):
        assert set(checkpoint["state_dict"]) == set(strategy.lightning_module.state_dict())
        self._note("saving", path)
        return lambda: self._note("saved", path)

    def linked(self, strategy, target, link):
        self._note("linked", target, link)

    def removed(self, strategy, path):
        self._note("removed", path)

    def loading(self, strategy, path):
        self._note("loading", path)
        return self.answer

    def restoring(self, strategy, checkpoint, strict):
        self._note("restoring", str(strict))
        return self.answer is not None

    def _note(self, what, *paths):
        self.heard.append((what, *(path.rpartition("/")[2] for path in paths)))


def _newest_only(folder, **options):
    return ModelCheckpoint(folder, filename="{epoch}", **options)


def test_each_save_and_delete_is_heard_once_and_in_order(tmp_path):
    recorder = Recorder()
    trainer(tmp_path, recorder, _newest_only(tmp_path), max_epochs=2).fit(Small())
    assert recorder.heard == [
        ("saving", "epoch=0.ckpt"),
        ("saved", "epoch=0.ckpt"),
        ("saving", "epoch=1.ckpt"),
        ("saved", "epoch=1.ckpt"),
        ("removed", "epoch=0.ckpt"),
    ]


def test_a_link_is_heard_and_a_copy_is_a_save(tmp_path):
    recorder = Recorder()
    links, copies = tmp_path / "links", tmp_path / "copies"
    by_link, by_copy = _newest_only(links, save_last="link"), _newest_only(copies, save_last=True, monitor="val_loss")
    trainer(tmp_path, recorder, by_link, by_copy, max_epochs=1).fit(Small())
    assert recorder.heard == [
        ("saving", "epoch=0.ckpt"),
        ("saved", "epoch=0.ckpt"),
        ("linked", "epoch=0.ckpt", "last.ckpt"),
        ("saving", "epoch=0.ckpt"),
        ("saved", "epoch=0.ckpt"),
        ("saving", "last.ckpt"),
        ("saved", "last.ckpt"),
    ]


def test_a_save_is_told_before_and_after_the_file_is_there(tmp_path):
    seen = []

    class Looks(Recorder):
        def saving(self, strategy, checkpoint, path):
            seen.append((tmp_path / "a.ckpt").exists())
            return lambda: seen.append((tmp_path / "a.ckpt").exists())

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
    assert first.heard == second.heard == [("saving", "a.ckpt"), ("saved", "a.ckpt")]


def test_a_listener_that_left_the_trainer_hears_nothing(tmp_path):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.callbacks.remove(recorder)
    run.save_checkpoint(tmp_path / "a.ckpt")
    run.strategy.remove_checkpoint(tmp_path / "a.ckpt")
    assert recorder.heard == []
    assert list(tmp_path.iterdir()) == []


def test_a_strategy_lent_to_another_trainer_tells_only_that_ones_callbacks(tmp_path):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    other = trainer(tmp_path, enable_checkpointing=False, strategy=run.strategy, accelerator="auto", max_epochs=1)
    other.fit(Small())
    other.save_checkpoint(tmp_path / "b.ckpt")
    assert recorder.heard == []
    assert (tmp_path / "b.ckpt").exists()


def test_what_the_original_raises_comes_through_and_nothing_is_called_done(tmp_path):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    with pytest.raises(TypeError, match="storage_options"):
        run.save_checkpoint(tmp_path / "a.ckpt", storage_options={})
    assert recorder.heard == [("saving", "a.ckpt")]


@pytest.mark.parametrize("lightning_reads", [True, False])
def test_loading_asks_the_listener_first(tmp_path, lightning_reads):
    recorder = Recorder()
    run = trainer(tmp_path, recorder, enable_checkpointing=False, max_epochs=1)
    module = Small()
    run.fit(module)
    run.save_checkpoint(tmp_path / "a.ckpt")
    recorder.heard.clear()
    if not lightning_reads:
        recorder.answer = {"pytorch-lightning_version": pl.__version__, "state_dict": {}}
    before = pickle.dumps(module.net.state_dict())
    torch.nn.init.zeros_(module.net[0].weight)
    run.test(module, ckpt_path=tmp_path / "a.ckpt", verbose=False)
    assert recorder.heard == [("loading", "a.ckpt"), ("restoring", "True")]
    assert (pickle.dumps(module.net.state_dict()) == before) is lightning_reads
    assert bool(module.net[0].weight.any()) is lightning_reads
