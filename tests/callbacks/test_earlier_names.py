"""Folders whose companion files have the name of earlier versions, ``NAME.safetensors``."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from safetensors.torch import save_file
from small_trainings import Small, trainer

from lightning_compress.archive import Archive
from lightning_compress.callbacks import CompressCheckpoint, reconcile
from lightning_compress.callbacks.export.auto.searched_plans import Auto
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.callbacks.objective import Objective

NEW, OLD = ".compressed.safetensors", ".safetensors"


def _saves(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{epoch}", monitor="epoch", mode="max", save_top_k=2, save_last="link")


def _fit(folder: Path, epochs: int, checkpoint: Path | None = None) -> None:
    run = trainer(folder, CompressCheckpoint("half", on_error="raise"), _saves(folder), max_epochs=epochs)
    run.fit(Small(), ckpt_path=checkpoint)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs and a linked last, with companion files of the earlier name that are newer than their checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    _fit(folder / "run", 2)
    for path in sorted((folder / "run").glob(f"*{NEW}")):
        earlier = path.with_name(path.name.removesuffix(NEW) + OLD)
        if path.is_symlink():
            earlier.symlink_to(path.readlink().name.removesuffix(NEW) + OLD)
            path.unlink()
        else:
            path.rename(earlier)
            os.utime(earlier, (time.time() + 5,) * 2)
    shutil.copytree(folder / "run", folder / "copy", symlinks=True)
    return folder


@pytest.fixture
def folder(trained: Path) -> Path:
    shutil.rmtree(trained / "run")
    return Path(shutil.copytree(trained / "copy", trained / "run", symlinks=True))


def _companions(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.endswith(OLD)}


def test_they_follow_their_checkpoints_when_a_training_resumes(folder: Path) -> None:
    assert _companions(folder) == {f"epoch=0{OLD}", f"epoch=1{OLD}", f"last{OLD}"}
    before = (folder / f"epoch=1{OLD}").stat().st_mtime_ns
    _fit(folder, 2, folder / "epoch=1.ckpt")
    assert _companions(folder) == {f"epoch=0{OLD}", f"epoch=1{OLD}", f"last{OLD}"}  # they hold the weights: all stays
    _fit(folder, 3, folder / "epoch=1.ckpt")
    assert _companions(folder) == {f"epoch=1{OLD}", f"epoch=2{NEW}", f"last{NEW}"}
    assert (folder / f"epoch=1{OLD}").stat().st_mtime_ns == before
    assert (folder / f"last{NEW}").readlink().name == f"epoch=2{NEW}"


def test_a_stale_one_is_replaced_by_one_of_the_new_name(folder: Path) -> None:
    content = torch.load(folder / "epoch=0.ckpt", weights_only=True)
    content["state_dict"]["net.0.bias"] += 1
    torch.save(content, folder / "epoch=0.ckpt")
    os.utime(folder / "epoch=0.ckpt", (time.time() + 9,) * 2)
    _fit(folder, 2, folder / "epoch=1.ckpt")
    assert _companions(folder) == {f"epoch=0{NEW}", f"epoch=1{OLD}", f"last{OLD}"}


def test_reconcile_keeps_replaces_and_deletes_them(folder: Path) -> None:
    assert reconcile(folder, "half") == reconcile(folder, "half")
    assert _companions(folder) == {f"epoch=0{OLD}", f"epoch=1{OLD}", f"last{OLD}"}
    shutil.copy(folder / f"epoch=0{OLD}", folder / f"epoch=1{OLD}")  # the weights of another checkpoint
    os.utime(folder / f"epoch=1{OLD}", (1, 1))
    shutil.copy(folder / f"epoch=0{OLD}", folder / f"gone{OLD}")
    shutil.copy(
        folder / f"epoch=0{OLD}", folder / f"epoch=0{NEW}"
    )  # a process was killed before it deleted the old one
    os.utime(folder / f"epoch=0{NEW}", (time.time() + 5,) * 2)
    done = reconcile(folder, "half")
    assert not done.failed
    assert _companions(folder) == {f"epoch=0{NEW}", f"epoch=1{NEW}", f"last{NEW}"}
    assert reconcile(folder, "half").created == reconcile(folder, "half").deleted == ()


def test_a_file_of_another_program_is_left_alone(folder: Path) -> None:
    foreign = folder / f"epoch=0{OLD}"
    foreign.unlink()
    save_file({"a": torch.ones(1)}, foreign)
    content = foreign.read_bytes()
    _fit(folder, 3, folder / "epoch=1.ckpt")
    assert not (folder / "epoch=0.ckpt").exists()
    assert foreign.read_bytes() == content


def test_a_checkpoint_called_compressed_does_not_share_its_neighbours_file(folder: Path) -> None:
    shutil.move(folder / f"epoch=0{OLD}", folder / f"epoch=0{NEW}")
    companion_files.discard(str(folder / f"epoch=0.compressed{NEW}"))
    assert (folder / f"epoch=0{NEW}").exists()


def test_they_are_read_as_checkpoints_and_for_their_plan(folder: Path) -> None:
    path = str(folder / f"epoch=1{OLD}")
    run = trainer(folder, CompressCheckpoint("half"))
    assert run.test(Small(), ckpt_path=path, verbose=False) is not None
    archive = Archive.open(path).with_metrics({"search": {"score": 1.0}})
    archive.save(path)
    auto = Auto(Objective(evaluate=float), None, None, "quick")
    auto.start(str(folder / "epoch=1.ckpt"))
    assert auto._found is not None
