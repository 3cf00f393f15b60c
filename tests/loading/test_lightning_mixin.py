"""``LitModel.load_from_checkpoint`` of classes with the mixin takes compressed files and checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import nn

from lightning_compress import LoadCompressedMixin, compress
from lightning_compress.errors import CallbackError, MismatchError

PATTERN = r"LitNet takes load_from_checkpoint from LightningModule: name the mixin first, class LitNet\(LoadCompressed"


class LitNet(LoadCompressedMixin, LightningModule):
    def __init__(self, width: int = 3, sizes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer, self.sizes = nn.Linear(4, width), sizes


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The checkpoint and the compressed file of one module."""
    module = LitNet(width=5, sizes=(1, 2))
    trainer = Trainer(accelerator="cpu", logger=False, barebones=True)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    compress(tmp_path / "net.ckpt", "exact").save(tmp_path / "net.compressed.safetensors")
    return tmp_path / "net.ckpt", tmp_path / "net.compressed.safetensors"


def test_both_kinds_of_files_give_the_same_module(files: tuple[Path, Path]) -> None:
    exact, loaded = (LitNet.load_from_checkpoint(path, map_location="cpu") for path in files)
    assert type(loaded) is LitNet
    assert loaded.sizes == exact.sizes == (1, 2)
    assert torch.equal(loaded.layer.weight, exact.layer.weight)
    renamed = files[1].rename(files[1].with_name("release"))
    assert LitNet.load_from_checkpoint(str(renamed), sizes=(7,)).sizes == (7,)


@pytest.mark.filterwarnings("ignore:Found keys that are in the model state dict")
def test_strict_is_handed_on(files: tuple[Path, Path]) -> None:
    class Larger(LitNet):
        def __init__(self, width: int = 3, sizes: tuple[int, ...] = ()) -> None:
            super().__init__(width, sizes)
            self.extra = nn.Linear(2, 2)

    for path in files:
        with pytest.raises((MismatchError, RuntimeError), match=r"extra\.weight"):
            Larger.load_from_checkpoint(path)
        assert Larger.load_from_checkpoint(path, strict=False).layer.out_features == 5


def test_arguments_without_a_meaning_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(CallbackError, match="give others as keywords"):
        LitNet.load_from_checkpoint(files[1], hparams_file="hparams.yaml")
    with pytest.raises(CallbackError, match="expected a device"):
        LitNet.load_from_checkpoint(files[1], map_location={"cuda:0": "cpu"})
    with pytest.raises(FileNotFoundError, match=r"gone\.compressed\.safetensors"):
        LitNet.load_from_checkpoint(files[1].with_name("gone.compressed.safetensors"))


def test_the_wrong_order_of_bases_is_an_error_of_the_class() -> None:
    with pytest.raises(CallbackError, match=PATTERN):
        type("LitNet", (LightningModule, LoadCompressedMixin), {})
