"""One contract over every way in which Lightning saves: each checkpoint has its file, and nothing else is there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, OnExceptionCheckpoint
from pytorch_lightning.plugins.io import AsyncCheckpointIO
from small_trainings import Small, expect_partners, trainer

from lightning_compress.callbacks import CompressCheckpoint

pytestmark = pytest.mark.usefixtures("quick_coding")


class StopError(Exception):
    """Raised by the training itself."""


class StopAt(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise StopError


class SaveByHand(Callback):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.folder / f"by-hand-{trainer.current_epoch}.ckpt")


def _scored(folder, **options):
    return ModelCheckpoint(folder, monitor="score", filename="{epoch}-{score:.1f}", **options)


def top_k(folder, compress):
    trainer(folder, compress, _scored(folder, save_top_k=2), max_epochs=6).fit(Small())
    return {"epoch=3-score=0.3.ckpt", "epoch=5-score=0.2.ckpt"}


def keep_all(folder, compress):
    trainer(folder, compress, _scored(folder, save_top_k=-1)).fit(Small())
    return {"epoch=0-score=0.9.ckpt", "epoch=1-score=0.5.ckpt", "epoch=2-score=0.7.ckpt"}


def default_checkpoint(folder, compress):
    trainer(folder, compress).fit(Small())
    return {"checkpoints/epoch=2-step=12.ckpt"}


def save_last(folder, compress):
    trainer(folder, compress, _scored(folder, save_last=True)).fit(Small())
    return {"epoch=1-score=0.5.ckpt", "last.ckpt"}


def save_last_link(folder, compress):
    trainer(folder, compress, _scored(folder, save_top_k=-1, save_last="link")).fit(Small())
    assert (folder / "last.ckpt").is_symlink()
    return {"epoch=0-score=0.9.ckpt", "epoch=1-score=0.5.ckpt", "epoch=2-score=0.7.ckpt", "last.ckpt"}


def save_last_link_to_the_only_one(folder, compress):
    trainer(folder, compress, _scored(folder, save_last="link")).fit(Small())
    return {"epoch=1-score=0.5.ckpt", "last.ckpt"}


def several(folder, compress):
    by_score = _scored(folder / "score", save_last=True)
    by_loss = ModelCheckpoint(folder / "loss", monitor="val_loss", filename="{epoch}", save_last="link")
    trainer(folder, compress, by_score, by_loss).fit(Small())
    return {"score/epoch=1-score=0.5.ckpt", "score/last.ckpt", "loss/epoch=2.ckpt", "loss/last.ckpt"}


def weights_only(folder, compress):
    trainer(folder, compress, _scored(folder, save_weights_only=True, save_last=True)).fit(Small())
    return {"epoch=1-score=0.5.ckpt", "last.ckpt"}


def by_steps(folder, compress):
    every = ModelCheckpoint(folder, every_n_train_steps=5, save_top_k=-1, filename="{step}")
    trainer(folder, compress, every).fit(Small())
    return {"step=5.ckpt", "step=10.ckpt"}


def newest_of_steps(folder, compress):
    every = ModelCheckpoint(folder, every_n_train_steps=1, filename="{step}")
    trainer(folder, compress, every, max_epochs=1).fit(Small())
    return {"step=4.ckpt"}


def by_hand_during_fit(folder, compress):
    trainer(folder, compress, SaveByHand(folder), enable_checkpointing=False, max_epochs=2).fit(Small())
    return {"by-hand-0.ckpt", "by-hand-1.ckpt"}


def by_hand_after_fit(folder, compress):
    run = trainer(folder, compress, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(folder / "with-ending.ckpt")
    run.save_checkpoint(folder / "without", weights_only=True)
    return {"with-ending.ckpt", "without"}


def by_hand_after_validate(folder, compress):
    run = trainer(folder, compress, enable_checkpointing=False)
    run.validate(Small(), verbose=False)
    run.save_checkpoint(folder / "validated.ckpt")
    return {"validated.ckpt"}


def exception(folder, compress):
    run = trainer(folder, compress, StopAt(1), OnExceptionCheckpoint(folder))
    with suppress(StopError):
        run.fit(Small())
    return {"on_exception.ckpt"}


def exception_of_a_model_checkpoint(folder, compress):
    every = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=3, save_on_exception=True, save_top_k=-1)
    with suppress(StopError):
        trainer(folder, compress, StopAt(1), every).fit(Small())
    return {"step=3.ckpt", "step=5.ckpt"}


def exception_overcome(folder, compress):
    with suppress(StopError):
        trainer(folder, compress, StopAt(1), _scored(folder), OnExceptionCheckpoint(folder)).fit(Small())
    assert (folder / "on_exception.compressed.safetensors").exists()
    again = trainer(folder, CompressCheckpoint("half"), _scored(folder), OnExceptionCheckpoint(folder))
    again.fit(Small(), ckpt_path=folder / "on_exception.ckpt")
    return {"epoch=1-score=0.5.ckpt"}


def resumed(folder, compress):
    trainer(folder, compress, _scored(folder, save_last=True), max_epochs=1).fit(Small())
    again = trainer(folder, CompressCheckpoint("half"), _scored(folder, save_last=True))
    again.fit(Small(), ckpt_path=folder / "last.ckpt")
    return {"epoch=1-score=0.5.ckpt", "last.ckpt"}


def resumed_with_link(folder, compress):
    trainer(folder, compress, _scored(folder, save_last="link"), max_epochs=2).fit(Small())
    again = trainer(folder, CompressCheckpoint("half"), _scored(folder, save_last="link"), max_epochs=4)
    again.fit(Small(), ckpt_path="last")
    return {"epoch=3-score=0.3.ckpt", "last.ckpt"}


def fit_twice(folder, compress):
    run = trainer(folder, compress, _scored(folder, save_top_k=2, save_last=True), max_epochs=2)
    module = Small()
    run.fit(module)
    run.fit_loop.max_epochs = 4
    run.fit(module)
    return {"epoch=1-score=0.5.ckpt", "epoch=3-score=0.3.ckpt", "last.ckpt"}


def overwritten(folder, compress):
    only = ModelCheckpoint(folder, filename="only", enable_version_counter=False)
    trainer(folder, compress, only).fit(Small())
    return {"only.ckpt"}


def asynchronous(folder, compress):
    plugin = AsyncCheckpointIO()
    trainer(folder, compress, _scored(folder, save_top_k=-1), max_epochs=2, plugins=[plugin]).fit(Small())
    return {"epoch=0-score=0.9.ckpt", "epoch=1-score=0.5.ckpt"}


def for_slurm(folder, compress):
    run = trainer(folder, compress, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    for number in (1, 2):
        path = run._checkpoint_connector.hpc_save_path(folder)
        assert path.endswith(f"hpc_ckpt_{number}.ckpt")
        run.save_checkpoint(path)
    assert run._checkpoint_connector._hpc_resume_path == str(folder / "hpc_ckpt_2.ckpt")
    return {"hpc_ckpt_1.ckpt", "hpc_ckpt_2.ckpt"}


def names_taken(folder, compress):
    for _ in range(2):
        trainer(folder, CompressCheckpoint("half"), _scored(folder, save_last=True), max_epochs=1).fit(Small())
    return {"epoch=0-score=0.9.ckpt", "epoch=0-score=0.9-v1.ckpt", "last.ckpt", "last-v1.ckpt"}


SCENARIOS = (
    top_k,
    keep_all,
    default_checkpoint,
    save_last,
    save_last_link,
    save_last_link_to_the_only_one,
    several,
    weights_only,
    by_steps,
    newest_of_steps,
    by_hand_during_fit,
    by_hand_after_fit,
    by_hand_after_validate,
    exception,
    exception_of_a_model_checkpoint,
    exception_overcome,
    resumed,
    resumed_with_link,
    fit_twice,
    overwritten,
    asynchronous,
    for_slurm,
    names_taken,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_every_checkpoint_has_its_file_and_nothing_else_is_left(scenario, tmp_path, caplog):
    expected = scenario(tmp_path, CompressCheckpoint("half", on_error="raise"))
    assert expect_partners(tmp_path) == expected
    assert not [record for record in caplog.records if record.name.startswith("lightning_compress")]
