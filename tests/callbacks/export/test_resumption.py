"""A training that resumes after its process was killed: the folder is put in order, once, and said in one line."""

from __future__ import annotations

import logging
import os
import shutil
import time

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, expect_partners, expect_same_weights, names, trainer

from lightning_compress.archive import Archive
from lightning_compress.callbacks import CompressCheckpoint, reconcile
from lightning_compress.callbacks.export import resumption
from lightning_compress.callbacks.export.companions import staleness
from lightning_compress.errors import ForeignFileError

LEFT_OVER = ".epoch=1.compressed.safetensors.0123456789abcdef.partial"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three epochs and a linked last, each with its companion file, and a copy of that folder."""
    folder = tmp_path_factory.mktemp("trained")
    trainer(folder, CompressCheckpoint("half"), _saves(folder / "run")).fit(Small())
    shutil.copytree(folder / "run", folder / "copy", symlinks=True)
    return folder


@pytest.fixture
def folder(trained):
    """The folder as it was after the training; Lightning restores what it knows only in the same folder."""
    shutil.rmtree(trained / "run")
    return shutil.copytree(trained / "copy", trained / "run", symlinks=True)


def _saves(folder, **options):
    return ModelCheckpoint(folder, filename="{epoch}", save_last="link", **({"save_top_k": -1} | options))


def _resume(folder, callback=None, *, saves=None, epochs=3):
    """Resume a training that is already at its end, so nothing is trained or saved, unless it gets more epochs."""
    callback = callback or CompressCheckpoint("half", on_error="raise")
    trainer(folder, callback, saves or _saves(folder), max_epochs=epochs).fit(
        Small(), ckpt_path=folder / "epoch=2.ckpt"
    )


def _change(checkpoint):
    """Other weights in a checkpoint, as a save whose companion file was not written any more."""
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["net.0.bias"] += 1
    torch.save(content, checkpoint)


def _lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == resumption.__name__]


def test_missing_stale_and_temporary_files_are_put_in_order_and_logged_in_one_line(folder, caplog):
    (folder / "epoch=0.compressed.safetensors").unlink()
    _change(folder / "epoch=1.ckpt")
    (folder / LEFT_OVER).write_bytes(b"half a fi")
    (folder / "last.compressed.safetensors").unlink()
    _resume(folder, epochs=4)
    assert expect_partners(folder) == {*(f"epoch={epoch}.ckpt" for epoch in range(4)), "last.ckpt"}
    (line,) = _lines(caplog)
    assert all(
        name in line for name in ("epoch=0.compressed.saf", "epoch=1.compressed.saf", "last.compressed.saf", LEFT_OVER)
    )
    assert "epoch=2.compressed.saf" not in line
    assert Archive.open(folder / "epoch=0.compressed.safetensors").manifest.class_path.endswith(
        "Small"
    )  # the module is known
    caplog.clear()
    _resume(folder)
    assert _lines(caplog) == []


def test_a_folder_in_order_is_not_read(folder, monkeypatch):
    now = time.time()
    for name in ("epoch=0", "epoch=1", "epoch=2"):  # written after the checkpoints were copied
        os.utime(folder / f"{name}.compressed.safetensors", (now, now))
    before = {path.name: path.stat(follow_symlinks=False).st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(staleness, "read_weights", None)
    _resume(folder)
    assert {path.name: path.stat(follow_symlinks=False).st_mtime_ns for path in folder.iterdir()} == before


def test_without_resuming_only_left_overs_go(folder):
    (folder / "epoch=0.compressed.safetensors").unlink()
    (folder / LEFT_OVER).write_bytes(b"half a fi")
    before = names(folder, "")
    run = trainer(folder, CompressCheckpoint("half"), _saves(folder), limit_train_batches=1, max_epochs=1)
    run.fit(Small())
    new = {f"{stem}-v1{suffix}" for stem in ("epoch=0", "last") for suffix in (".ckpt", ".compressed.safetensors")}
    assert names(folder, "") == before - {LEFT_OVER} | new


def test_modification_times_do_not_prove_that_a_file_is_current(folder):
    """Equal times, a clock that was set back, a checkpoint copied from elsewhere with its old time."""
    companion, checkpoint = folder / "epoch=0.compressed.safetensors", folder / "epoch=0.ckpt"
    now = time.time()
    cases = {
        "equal": (now - 50, now - 50),
        "file in the future": (now + 900, now - 50),
        "checkpoint in the future": (now - 50, now + 900),
        "copied with its time": (now - 50, now - 900),
    }
    for case, (of_companion, of_checkpoint) in cases.items():
        with naming(case):
            os.utime(companion, (of_companion, of_companion))
            _change(checkpoint)
            os.utime(checkpoint, (of_checkpoint, of_checkpoint))
            assert not staleness.is_current(str(checkpoint))
            assert str(companion) in reconcile(folder, "half").created
            expect_same_weights(checkpoint, companion)
            os.utime(companion, (of_companion, of_companion))
            os.utime(checkpoint, (of_checkpoint, of_checkpoint))
            assert staleness.is_current(str(checkpoint))  # the weights agree, whatever the times


def test_only_what_the_policy_gives_a_file_gets_one(folder):
    """The newest or the best; others lose a stale file, and later the one that was written now."""
    for when, epochs, kept in (
        ("last", 3, {"epoch=2", "last"}),
        ("best", 3, {"epoch=2", "last"}),  # without a metric Lightning calls the newest the best
        ("last", 4, {"epoch=3", "last"}),
    ):
        with naming((when, epochs)):
            (folder / "epoch=1.compressed.safetensors").unlink(missing_ok=True)
            (folder / "epoch=2.compressed.safetensors").unlink(missing_ok=True)
            _change(folder / "epoch=0.ckpt")
            os.utime(folder / "epoch=0.ckpt", (1e9, 1e9))  # it is not the newest
            torch.save({"state_dict": {"other": torch.ones(3)}}, folder / "pretrained.ckpt")  # which is no candidate
            _resume(folder, CompressCheckpoint("half", when=when), epochs=epochs)
            assert names(folder, ".compressed.safetensors") == {f"{name}.compressed.safetensors" for name in kept}


def test_others_files_and_checkpoints_of_other_models_stay_as_they_are(folder):
    torch.save({"state_dict": {"other": torch.ones(3)}}, folder / "pretrained.ckpt")
    (folder / "damaged.ckpt").write_bytes(b"half a checkpoint")
    (folder / "notes.partial").touch()
    before = names(folder, "")
    _resume(folder)
    assert names(folder, "") == before


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_failure_follows_on_error_and_the_others_are_done(on_error, folder, caplog):
    (folder / "epoch=0.compressed.safetensors").write_bytes(b"in the way")
    (folder / "epoch=1.compressed.safetensors").unlink()
    callback = CompressCheckpoint("half", on_error=on_error)
    if on_error == "raise":
        with pytest.raises(ForeignFileError, match="epoch=0"):
            _resume(folder, callback)
    else:
        _resume(folder, callback)
        (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "epoch=0.compressed.safetensors" in error.getMessage()
    assert (folder / "epoch=0.compressed.safetensors").read_bytes() == b"in the way"
    assert (folder / "epoch=1.compressed.safetensors").exists()


def test_a_large_folder_takes_a_limited_time(folder, caplog, monkeypatch):
    for path in folder.glob("*.compressed.safetensors"):
        path.unlink()
    monkeypatch.setattr(resumption, "MOST_SECONDS", 0.0)
    _resume(folder)
    assert names(folder, ".compressed.safetensors") == set()
    (line,) = _lines(caplog)
    assert "not looked at" in line
    assert "epoch=1.compressed.safetensors" in line


def test_a_searched_plan_only_removes_what_is_stale(folder, caplog):
    """A search at the start would take minutes."""
    _change(folder / "epoch=1.ckpt")
    callback = CompressCheckpoint("auto", monitor="score", mode="max", max_drop=0.3)
    _resume(folder, callback, saves=_saves(folder, monitor="score", mode="max"))
    assert not (folder / "epoch=1.compressed.safetensors").exists()
    assert (folder / "epoch=0.compressed.safetensors").exists()
    assert "epoch=1.compressed.safetensors" in _lines(caplog)[0]
