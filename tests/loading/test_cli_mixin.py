"""``--ckpt_path`` of LightningCLI with the mixin takes compressed files and checkpoints, and builds what is allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from small_trainings import Small, trainer
from torch import nn

from lightning_compress import CompressCheckpoint, CompressedCheckpointIO, CompressedCLIMixin, compress, load
from lightning_compress.callbacks import ReadCompressed
from lightning_compress.errors import CallbackError, ClassNotAllowedError, FormatError, MismatchError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of jsonargparse, about Lightning
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty.*"),
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated.*"),
]
HERE = __name__


class CLI(CompressedCLIMixin, LightningCLI):
    pass


class Wider(Small):
    def __init__(self, width: int = 9, extra: int = 1) -> None:
        super().__init__(width)
        self.save_hyperparameters()


class Extra(Small):
    def __init__(self, width: int = 3, scores: tuple[float, ...] = ()) -> None:
        super().__init__(width, scores)
        self.extra = nn.Linear(2, 2)


class Tokenizer:
    """No module."""


class Text(Small):
    def __init__(self, tokenizer: Tokenizer | None = None, width: int = 8) -> None:
        super().__init__(width)
        self.tokenizer = tokenizer
        self.hparams.clear()
        self.save_hyperparameters({"tokenizer": {"class_path": f"{HERE}.Tokenizer"}, "width": width})


def run(*arguments: object, kind: type = Small, cli: type[LightningCLI] = CLI, **options: object) -> LightningCLI:
    defaults = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults |= {"callbacks": [ReadCompressed()], "enable_checkpointing": False, "max_epochs": 2}
    settings = {"seed_everything_default": False, "save_config_callback": None, "trainer_defaults": defaults}
    return cli(kind, args=[str(each) for each in arguments], **settings, **options)


@pytest.fixture(autouse=True)
def _no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The checkpoint and the compressed file of a training of LightningCLI, of a module with other sizes."""
    saved = ModelCheckpoint(tmp_path, filename="net", enable_version_counter=False)
    trainer(tmp_path, saved, CompressCheckpoint("half"), max_epochs=1).fit(Small(width=5, scores=(0.1, 0.2)))
    return tmp_path


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_hyper_parameters_and_weights_are_those_of_the_file(folder: Path, command: str) -> None:
    path = folder / "net.compressed.safetensors"
    path.with_name("release").write_bytes(path.read_bytes())
    for source in (path, path.with_name("release")):
        model = run(command, "--ckpt_path", source, "--model.width", 3).model
        assert tuple(model.hparams.scores) == (0.1, 0.2)
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in load(path).items())
    exact = run(command, "--ckpt_path", folder / "net.ckpt").model
    assert (exact.hparams.width, exact.net[0].weight.shape) == (5, (5, 4))
    assert run(command).model.hparams.width == 8


def test_the_subclass_that_the_file_names_is_built(tmp_path: Path) -> None:
    arguments = ("--model", f"{HERE}.Wider", "--model.extra=7")
    model = run(*arguments, cli=LightningCLI, run=False, subclass_mode_model=True).model
    compress(model, "exact").save(tmp_path / "wider.compressed.safetensors")
    again = run("test", "--ckpt_path", tmp_path / "wider.compressed.safetensors", "--model", f"{HERE}.Small",
                subclass_mode_model=True).model  # fmt: skip
    assert (type(again), again.hparams.extra, again.hparams.width) == (Wider, 7, 9)


def test_fit_refuses_an_inexact_file_and_resumes_from_an_exact_one(folder: Path) -> None:
    with pytest.raises(CallbackError, match=r"fit cannot resume from .*net\.ckpt"):
        run("fit", "--ckpt_path", folder / "net.compressed.safetensors")
    exact = trainer(folder, ModelCheckpoint(folder, filename="exact"), plugins=[CompressedCheckpointIO()], max_epochs=1)
    exact.fit(Small(width=6))
    cli = run("fit", "--ckpt_path", folder / "exact.ckpt")
    assert (cli.model.hparams.width, cli.trainer.global_step) == (6, 2 * exact.global_step)


def test_a_class_that_is_not_allowed_is_neither_imported_nor_built(tmp_path: Path) -> None:
    path = tmp_path / "text.compressed.safetensors"
    compress(Text(), "exact").save(path)
    with pytest.raises(ClassNotAllowedError, match=rf"tokenizer='{HERE}\.Tokenizer'.*set allow = .* in the class CLI"):
        run("test", "--ckpt_path", path, kind=Text)

    class Trusting(CLI):
        allow = (f"{HERE}.Tokenizer",)

    assert type(run("test", "--ckpt_path", path, kind=Text, cli=Trusting).model.tokenizer) is Tokenizer


def test_damaged_files_and_other_modules_give_our_errors(folder: Path) -> None:
    path = folder / "net.compressed.safetensors"
    with pytest.raises(MismatchError, match="extra"):
        run("test", "--ckpt_path", path, kind=Extra)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FormatError):
        run("test", "--ckpt_path", path)


def test_the_wrong_order_of_bases_is_an_error_of_the_class() -> None:
    with pytest.raises(CallbackError, match=r"name the mixin first, class Mine\(CompressedCLIMixin, LightningCLI\)"):
        type("Mine", (LightningCLI, CompressedCLIMixin), {})
