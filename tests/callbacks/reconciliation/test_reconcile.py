"""``reconcile``: a folder after a crash, put right."""

from __future__ import annotations

import os
import time

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, Tied, expect_partners, names, trainer

from lightning_compress import load
from lightning_compress.archive import Archive
from lightning_compress.callbacks import CompressCheckpoint, reconcile
from lightning_compress.errors import PlanError


@pytest.fixture
def folder(tmp_path):
    """Three epochs and a linked last, each with its file."""
    every = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_last="link")
    trainer(tmp_path, CompressCheckpoint("half"), every).fit(Small())
    expect_partners(tmp_path)
    return tmp_path


def _done(folder, **expected):
    done = reconcile(folder, "half")
    for what in ("created", "deleted"):
        assert getattr(done, what) == tuple(str(folder / name) for name in expected.get(what, ()))
    assert dict.fromkeys(done.failed, "") == {str(folder / name): "" for name in expected.get("failed", ())}
    return done


def test_a_folder_in_order_stays_as_it_is(folder):
    before = {path.name: path.stat(follow_symlinks=False).st_mtime_ns for path in folder.iterdir()}
    _done(folder)
    assert {path.name: path.stat(follow_symlinks=False).st_mtime_ns for path in folder.iterdir()} == before


def test_what_is_missing_is_made_and_what_is_orphaned_deleted(folder):
    (folder / "epoch=0.compressed.safetensors").unlink()
    (folder / "epoch=1.ckpt").unlink()
    _done(folder, created=["epoch=0.compressed.safetensors"], deleted=["epoch=1.compressed.safetensors"])
    assert expect_partners(folder) == {"epoch=0.ckpt", "epoch=2.ckpt", "last.ckpt"}


def test_links_are_made_after_their_targets_and_dangling_ones_deleted(folder):
    (folder / "epoch=2.compressed.safetensors").unlink()
    (folder / "last.compressed.safetensors").unlink()
    _done(folder, created=["epoch=2.compressed.safetensors", "last.compressed.safetensors"])
    assert (folder / "last.compressed.safetensors").is_symlink()
    expect_partners(folder)
    (folder / "epoch=2.ckpt").unlink()
    _done(folder, deleted=["epoch=2.compressed.safetensors", "last.compressed.safetensors"])
    assert names(folder, ".compressed.safetensors") == {
        "epoch=0.compressed.safetensors",
        "epoch=1.compressed.safetensors",
    }


def test_a_link_whose_target_was_deleted_by_hand_goes(folder):
    (folder / "epoch=2.ckpt").unlink()
    (folder / "epoch=2.compressed.safetensors").unlink()
    _done(folder, deleted=["last.compressed.safetensors"])
    assert not (folder / "last.compressed.safetensors").is_symlink()


def test_a_folder_that_was_trained_without_the_callback_is_filled(tmp_path):
    trainer(tmp_path, ModelCheckpoint(tmp_path, filename="{epoch}", save_last=True), max_epochs=1).fit(Tied())
    done = reconcile(str(tmp_path), "half")
    assert len(done.created) == 2
    expect_partners(tmp_path)
    tensors = load(tmp_path / "last.compressed.safetensors")
    assert tensors["first.weight"].data_ptr() == tensors["second.weight"].data_ptr()
    assert Archive.open(tmp_path / "last.compressed.safetensors").manifest.hyper_parameters["width"] == 8


def test_a_file_older_than_its_checkpoint_is_renewed_if_it_holds_other_weights(folder):
    checkpoint = torch.load(folder / "epoch=0.ckpt", weights_only=True)
    old = (folder / "epoch=0.compressed.safetensors").stat().st_mtime
    os.utime(folder / "epoch=0.ckpt", (old + 10, old + 10))
    _done(folder)
    checkpoint["state_dict"]["net.0.bias"] += 1
    torch.save(checkpoint, folder / "epoch=0.ckpt")
    os.utime(folder / "epoch=0.ckpt", (old + 10, old + 10))
    _done(folder, created=["epoch=0.compressed.safetensors"])
    expect_partners(folder)


def test_a_checkpoint_with_a_newer_file_is_not_even_read(folder):
    (folder / "epoch=0.ckpt").write_bytes(b"damaged")
    os.utime(folder / "epoch=0.compressed.safetensors", (time.time(), time.time()))
    _done(folder)


def test_what_a_killed_writer_left_is_swept_away(folder):
    (folder / ".epoch=0.compressed.safetensors.partial").write_bytes(b"half a fi")
    _done(folder, deleted=[".epoch=0.compressed.safetensors.partial"])
    expect_partners(folder)


def test_others_files_stay_and_are_reported_where_they_are_in_the_way(folder):
    (folder / "foreign.compressed.safetensors").write_bytes(b"somebody else's")
    (folder / "epoch=0.compressed.safetensors").write_bytes(b"in the way")
    (folder / "notes.txt").touch()
    (folder / ".lr_find_1.ckpt").touch()
    done = _done(folder, failed=["epoch=0.ckpt"])
    assert "epoch=0.compressed.safetensors" in done.failed[str(folder / "epoch=0.ckpt")]
    assert (folder / "foreign.compressed.safetensors").read_bytes() == b"somebody else's"
    assert (folder / "epoch=0.compressed.safetensors").read_bytes() == b"in the way"


def test_one_failure_does_not_keep_the_others_from_being_done(folder):
    for epoch in (0, 1):
        (folder / f"epoch={epoch}.compressed.safetensors").unlink()
    (folder / "epoch=0.ckpt").write_bytes(b"damaged")
    (folder / "sharded.ckpt").mkdir()
    done = _done(folder, created=["epoch=1.compressed.safetensors"], failed=["epoch=0.ckpt", "sharded.ckpt"])
    assert "directory" in done.failed[str(folder / "sharded.ckpt")]


def test_a_file_of_a_checkpoint_without_ending_is_no_orphan(tmp_path):
    run = trainer(tmp_path, CompressCheckpoint("half"), enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(tmp_path / "plain")
    _done(tmp_path)
    (tmp_path / "plain").unlink()
    _done(tmp_path, deleted=["plain.compressed.safetensors"])


def test_a_wrong_plan_or_folder_is_refused(tmp_path):
    with pytest.raises(PlanError):
        reconcile(tmp_path, "hlaf")
    with pytest.raises(OSError, match="missing"):
        reconcile(tmp_path / "missing", "half")
