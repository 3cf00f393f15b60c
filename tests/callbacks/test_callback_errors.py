"""What goes wrong: the training goes on or ends as asked, the log names the path once, nothing partial stays."""

from __future__ import annotations

import errno
import logging
import sys

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from small_trainings import Small, names, trainer

from lightning_compress import Half, Plan, Rule
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.errors import (
    CallbackError,
    CompressionError,
    ForeignFileError,
    PlanError,
    WeightsError,
)


def _everything(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _each_epoch(folder):
    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)


def _logged(caplog):
    return [record for record in caplog.records if record.name.startswith("lightning_compress")]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that is full when our file is flushed; Lightning's own save does not flush."""

    def flush(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", flush)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_logged_once_for_each_file_and_training_goes_on(tmp_path, caplog):
    run = trainer(tmp_path, CompressCheckpoint("half"), _each_epoch(tmp_path), max_epochs=2)
    run.fit(Small())
    assert run.global_step == 8
    assert _everything(tmp_path) == {"epoch=0.ckpt", "epoch=1.ckpt"}
    records = _logged(caplog)
    assert [record.levelno for record in records] == [logging.ERROR] * 2
    for epoch, record in enumerate(records):
        assert str(tmp_path / f"epoch={epoch}.compressed.safetensors") in record.getMessage()
        assert "No space left on device" in record.getMessage()


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_ends_the_training_where_asked(tmp_path):
    run = trainer(tmp_path, CompressCheckpoint("half", on_error="raise"), _each_epoch(tmp_path))
    with pytest.raises(
        CallbackError, match=r"epoch=0\.compressed.safetensors failed with OSError.*No space left"
    ) as caught:
        run.fit(Small())
    assert isinstance(caught.value, CompressionError)
    assert isinstance(caught.value.__cause__, OSError)
    assert run.global_step == 4
    assert _everything(tmp_path) == {"epoch=0.ckpt"}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_foreign_name_is_left_alone_when_saving_and_when_deleting(tmp_path, caplog, kind):
    foreign = tmp_path / "epoch=0.compressed.safetensors"
    if kind == "file":
        foreign.write_bytes(b"somebody else's")
    else:
        foreign.mkdir()
        (foreign / "inside").touch()
    newest = ModelCheckpoint(tmp_path, filename="{epoch}")
    trainer(tmp_path, CompressCheckpoint("half"), newest, max_epochs=2).fit(Small())
    assert names(tmp_path, ".ckpt") == {"epoch=1.ckpt"}
    assert names(tmp_path, ".compressed.safetensors") == {
        "epoch=0.compressed.safetensors",
        "epoch=1.compressed.safetensors",
    }
    assert foreign.read_bytes() == b"somebody else's" if kind == "file" else (foreign / "inside").exists()
    (record,) = _logged(caplog)
    assert str(foreign) in record.getMessage()


def test_a_foreign_name_raises_where_asked(tmp_path):
    (tmp_path / "epoch=0.compressed.safetensors").touch()
    run = trainer(tmp_path, CompressCheckpoint("half", on_error="raise"), _each_epoch(tmp_path))
    with pytest.raises(ForeignFileError, match=r"epoch=0\.compressed.safetensors"):
        run.fit(Small())


def test_a_foreign_name_is_not_replaced_by_a_link(tmp_path, caplog):
    (tmp_path / "last.compressed.safetensors").write_bytes(b"somebody else's")
    linking = ModelCheckpoint(tmp_path, filename="{epoch}", save_last="link")
    trainer(tmp_path, CompressCheckpoint("half"), linking, max_epochs=1).fit(Small())
    assert (tmp_path / "last.compressed.safetensors").read_bytes() == b"somebody else's"
    assert (tmp_path / "last.ckpt").is_symlink()
    (record,) = _logged(caplog)
    assert "last.compressed.safetensors" in record.getMessage()


def test_a_file_that_cannot_be_renewed_does_not_stay_beside_a_newer_checkpoint(tmp_path, monkeypatch):
    run = trainer(tmp_path, CompressCheckpoint("half"), enable_checkpointing=False, max_epochs=1)
    module = Small()
    run.fit(module)
    run.save_checkpoint(tmp_path / "a.ckpt")
    torch.nn.init.zeros_(module.net[0].weight)

    def flush(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", flush)
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert _everything(tmp_path) == {"a.ckpt"}


def test_failing_assets_of_a_module_are_logged_early_and_at_each_save(tmp_path, caplog):
    class Broken(Small):
        def compression_assets(self):
            raise RuntimeError("no vocabulary")

    trainer(tmp_path, CompressCheckpoint("half"), _each_epoch(tmp_path), max_epochs=1).fit(Broken())
    assert _everything(tmp_path) == {"epoch=0.ckpt"}
    early, late = _logged(caplog)
    assert early.levelno == logging.WARNING
    assert late.levelno == logging.ERROR
    assert "no vocabulary" in early.getMessage()
    assert "epoch=0.compressed.safetensors failed with RuntimeError: no vocabulary" in late.getMessage()


def test_a_file_that_cannot_be_deleted_is_logged_and_never_raised(tmp_path, caplog, monkeypatch):
    newest = ModelCheckpoint(tmp_path, filename="{epoch}")
    run = trainer(tmp_path, CompressCheckpoint("half", on_error="raise"), newest, max_epochs=2)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("lightning_compress.callbacks.export.companions.companion_files.discard", refuse)
    run.fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {
        "epoch=0.compressed.safetensors",
        "epoch=1.compressed.safetensors",
    }
    (record,) = _logged(caplog)
    assert "epoch=0.compressed.safetensors" in record.getMessage()


def test_a_wrong_plan_is_refused_when_the_callback_is_made():
    with pytest.raises(PlanError, match="presets are"):
        CompressCheckpoint("paper-transfomer")
    with pytest.raises(PlanError, match="cannot read the plan"):
        CompressCheckpoint("missing.yaml")


# Lightning calls what jsonargparse 5 will not have.
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.parametrize("plan", ["half", "plan.yaml"])
def test_lightnings_command_line_takes_a_preset_and_a_file(tmp_path, monkeypatch, plan):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text("rules:\n  - tensors: '*'\n    methods: [half]\n", encoding="utf-8")

    class WithCompression(LightningCLI):
        def add_arguments_to_parser(self, parser):
            parser.add_lightning_class_args(CompressCheckpoint, "compress")

    monkeypatch.setattr(sys, "argv", ["train.py", "--compress.plan", plan])
    made = WithCompression(
        Small,
        run=False,
        save_config_callback=None,
        seed_everything_default=False,
        trainer_defaults={"logger": False, "enable_progress_bar": False},
    )
    (callback,) = (c for c in made.trainer.callbacks if isinstance(c, CompressCheckpoint))
    assert callback.plan == Plan.resolve(plan)


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_plan_that_does_not_fit_the_model_is_refused_before_the_first_step(tmp_path, on_error):
    plan = Plan(Rule("decoder.*", Half()))
    run = trainer(tmp_path, CompressCheckpoint(plan, on_error=on_error), _each_epoch(tmp_path))
    with pytest.raises(PlanError, match=r"'decoder\.\*'"):
        run.fit(Small())
    assert run.global_step == 0
    assert _everything(tmp_path) == set()


@pytest.mark.parametrize("options", [{"exclude": ["nothing.*"]}, {"classes": {"head": "nothing.*"}}])
def test_so_are_patterns_of_the_callback_that_select_nothing(tmp_path, options):
    run = trainer(tmp_path, CompressCheckpoint("half", **options), _each_epoch(tmp_path))
    with pytest.raises(WeightsError, match=r"nothing\.\*"):
        run.fit(Small())
    assert run.global_step == 0


def test_a_lazy_module_is_not_judged_before_it_knows_its_shapes(tmp_path):
    class Lazy(Small):
        def __init__(self) -> None:
            super().__init__()
            self.net[0] = torch.nn.LazyLinear(8)

    run = trainer(tmp_path, CompressCheckpoint("half", on_error="raise"), _each_epoch(tmp_path), max_epochs=1)
    run.fit(Lazy())
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=0.compressed.safetensors"}
