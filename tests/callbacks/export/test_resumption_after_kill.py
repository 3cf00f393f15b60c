"""What a killed process leaves beside files that are whole: links, and files that the policy no longer allows."""

from __future__ import annotations

import shutil

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, names, trainer

from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.callbacks.export.companions import staleness


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three epochs and a linked last, each with its companion file."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    _fit(folder, "all", epochs=3)
    return folder


@pytest.fixture
def folder(trained):
    """The folder as it was after the training; Lightning restores what it knows only in the same folder."""
    copy = trained.with_name("copy")
    if not copy.exists():
        shutil.copytree(trained, copy, symlinks=True)
    shutil.rmtree(trained)
    return shutil.copytree(copy, trained, symlinks=True)


def _fit(folder, when, *, epochs, start=None):
    saves = ModelCheckpoint(folder, filename="{epoch}", save_last="link", save_top_k=-1)
    run = trainer(folder, CompressCheckpoint("half", when=when, on_error="raise"), saves, max_epochs=epochs)
    run.fit(Small(), ckpt_path=start)


@pytest.mark.parametrize("when", ["last", "best"])  # without a metric Lightning calls the newest the best
def test_files_that_the_policy_does_not_allow_go_after_the_next_save(when, folder):
    """A process is killed between the companion file of a checkpoint and the deletion of the one before."""
    _fit(folder, when, epochs=3, start=folder / "epoch=2.ckpt")
    assert names(folder, ".compressed.safetensors") == {
        *(f"epoch={n}.compressed.safetensors" for n in range(3)),
        "last.compressed.safetensors",
    }
    _fit(folder, when, epochs=4, start=folder / "epoch=2.ckpt")
    assert names(folder, ".compressed.safetensors") == {"epoch=3.compressed.safetensors", "last.compressed.safetensors"}


def test_links_to_nothing_go_and_those_of_others_stay(folder):
    for name, leads_to in {
        "gone": "epoch=9.compressed.safetensors",
        "theirs": "/nowhere/x.compressed.safetensors",
        "note": "x.txt",
    }.items():
        (folder / f"{name}.compressed.safetensors").symlink_to(leads_to)
    (folder / "last.ckpt").unlink()
    (folder / "last.compressed.safetensors").unlink()
    (folder / "last.compressed.safetensors").symlink_to("epoch=8.compressed.safetensors")
    _fit(folder, "all", epochs=3, start=folder / "epoch=2.ckpt")
    links = {path.name for path in folder.iterdir() if path.is_symlink()}
    assert links == {"theirs.compressed.safetensors", "note.compressed.safetensors"}


def test_a_link_to_a_newer_file_of_another_checkpoint_is_stale(folder):
    """Companion files may be written later than the checkpoints that follow."""
    (folder / "last.compressed.safetensors").unlink()
    (folder / "last.compressed.safetensors").symlink_to("epoch=0.compressed.safetensors")
    shutil.copyfile(folder / "epoch=0.compressed.safetensors", folder / "new")
    (folder / "new").replace(folder / "epoch=0.compressed.safetensors")
    assert staleness.is_current(str(folder / "epoch=0.ckpt"))
    assert not staleness.is_current(str(folder / "last.ckpt"))
    _fit(folder, "all", epochs=3, start=folder / "epoch=2.ckpt")
    assert (folder / "last.compressed.safetensors").resolve().name == "epoch=2.compressed.safetensors"
    assert staleness.is_current(str(folder / "last.ckpt"))
