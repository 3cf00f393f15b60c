"""Trainers without ``CompressCheckpoint`` take compressed files, and nothing else about them changes."""

from __future__ import annotations

import copy
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from fresh_process import in_fresh_process
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from safetensors.torch import save_file
from small_trainings import Small, trainer

from lightning_compress import CompressCheckpoint, compress, load
from lightning_compress.callbacks import ReadCompressed
from lightning_compress.errors import CallbackError, ChecksumError, MismatchError

ROOT = Path(__file__).parents[2]
GROUP = re.compile(r'^\[project\.entry-points\."(.+callbacks_factory)"\]\nlightning-compress = "(.+)"$', re.MULTILINE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    compress(Small(), "paper-rnn").save(tmp_path / "small.compressed.safetensors")
    return tmp_path / "small.compressed.safetensors"


def _reader(folder: Path, *callbacks, **options):
    return trainer(folder, ReadCompressed(), *callbacks, enable_checkpointing=False, **options)


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_the_file_is_taken_where_a_checkpoint_is(file: Path, verb: str) -> None:
    module, run = Small(), _reader(file.parent)
    shutil.copy(file, file.parent / "release")
    for path in (file, str(file), file.parent / "release"):  # whatever its name is
        torch.nn.init.zeros_(module.net[0].weight)
        getattr(run, verb)(module, ckpt_path=path, **({} if verb == "predict" else {"verbose": False}))
        assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in load(file).items())


def test_fit_and_another_module_are_refused(file: Path) -> None:
    with pytest.raises(CallbackError, match=r"fit cannot resume from .*: fit\(load_from_checkpoint\(YourModule, path"):
        _reader(file.parent).fit(Small(), ckpt_path=file)
    with pytest.raises(MismatchError, match=r"net\.0\.weight"):
        _reader(file.parent).test(Small(width=3), ckpt_path=file, verbose=False)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ChecksumError):
        _reader(file.parent).test(Small(), ckpt_path=file, verbose=False)


def test_checkpoints_and_foreign_files_go_to_lightning(tmp_path: Path) -> None:
    module = Small()
    run = trainer(tmp_path, ReadCompressed(), ModelCheckpoint(tmp_path, filename="x"), max_epochs=1)
    run.fit(module)
    (tmp_path / "x.ckpt").rename(tmp_path / "x.other")
    fresh = Small()
    _reader(tmp_path).test(fresh, ckpt_path=tmp_path / "x.other", verbose=False)
    assert torch.equal(fresh.net[0].weight, module.net[0].weight)
    again = _reader(tmp_path, max_epochs=2)
    again.fit(Small(), ckpt_path=tmp_path / "x.other")
    assert again.global_step == 2 * run.global_step
    save_file({"weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    asked = []
    run = _reader(tmp_path)
    run.strategy.checkpoint_io.load_checkpoint = lambda path, **_: asked.append(path) or module_checkpoint(module)
    run.test(Small(), ckpt_path=tmp_path / "plain.safetensors", verbose=False)
    assert asked == [tmp_path / "plain.safetensors"]


def test_an_environment_without_our_libraries_keeps_lightnings_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = Small()
    run = trainer(tmp_path, ReadCompressed(), ModelCheckpoint(tmp_path, filename="x"), max_epochs=1)
    run.fit(module)
    (tmp_path / "x.ckpt").rename(tmp_path / "x.other")
    monkeypatch.setitem(sys.modules, "lightning_compress.callbacks.export.checkpoint_reading", None)
    monkeypatch.delattr("lightning_compress.callbacks.export.checkpoint_reading")
    fresh = Small()
    _reader(tmp_path).test(fresh, ckpt_path=tmp_path / "x.other", verbose=False)
    assert torch.equal(fresh.net[0].weight, module.net[0].weight)
    (record,) = [each for each in caplog.records if each.name == "lightning_compress.callbacks.reading"]
    assert "cannot look whether" in record.getMessage()


def module_checkpoint(module: Small) -> dict[str, object]:
    return {"state_dict": module.state_dict(), "pytorch-lightning_version": "2.6.0"}


def test_it_stands_beside_the_callback_that_compresses(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, filename="{epoch}")
    run = trainer(tmp_path, ReadCompressed(), CompressCheckpoint("half"), checkpoint, ReadCompressed(), max_epochs=1)
    run.fit(Small())
    module = Small()
    run.test(module, ckpt_path=tmp_path / "epoch=0.compressed.safetensors", verbose=False)
    expected = load(tmp_path / "epoch=0.compressed.safetensors")
    assert torch.equal(module.net[0].weight, expected["net.0.weight"])


def test_a_copy_of_a_trainer_reads_for_itself(file: Path) -> None:
    run, module, other = _reader(file.parent), Small(), Small()
    run.validate(module, verbose=False)
    for copied in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        torch.nn.init.zeros_(other.net[0].weight)
        torch.nn.init.zeros_(module.net[0].weight)
        copied.test(other, ckpt_path=file, verbose=False)
        assert torch.equal(other.net[0].weight, load(file)["net.0.weight"])
        assert not module.net[0].weight.any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jsonargparse, about Lightning
def test_lightning_cli_without_a_subcommand(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As LightningCLI reads --ckpt_path, before it has a trainer.
    with pytest.raises(Exception, match=r"F6_E2M3|weights_only"):
        torch.load(file, weights_only=True, map_location="cpu")
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {"callbacks": [ReadCompressed()]}
    monkeypatch.setattr("sys.argv", ["script.py"])
    cli = LightningCLI(
        Small, run=False, seed_everything_default=False, trainer_defaults=options, save_config_callback=None
    )
    cli.trainer.test(cli.model, ckpt_path=file, verbose=False)
    assert torch.equal(cli.model.net[0].weight, load(file)["net.0.weight"])


def _callbacks_of_a_trainer(site: str) -> tuple[list[str], bool]:
    """Names of the callbacks of a plain trainer, and whether the package's readers were imported for them."""
    sys.path.insert(0, site)
    for name in [name for name in sys.modules if name.startswith("lightning_compress")]:
        del sys.modules[name]
    from pytorch_lightning import Trainer

    run = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    return [type(each).__name__ for each in run.callbacks], "lightning_compress.archive" in sys.modules


def test_an_installed_package_gives_it_to_every_trainer_and_imports_little(tmp_path: Path) -> None:
    folder = tmp_path / "lightning_compress-0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lightning-compress\nVersion: 0\n")
    found = GROUP.findall((ROOT / "pyproject.toml").read_text("utf-8"))
    assert [group for group, _ in found] == [
        "lightning.pytorch.callbacks_factory",
        "pytorch_lightning.callbacks_factory",
    ]
    (folder / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\nlightning-compress = {path}" for group, path in found)
    )
    names, is_imported = in_fresh_process(_callbacks_of_a_trainer, str(tmp_path))
    assert names.count("ReadCompressed") == 1
    assert not is_imported
