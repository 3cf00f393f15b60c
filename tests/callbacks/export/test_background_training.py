"""Trainings that export in the background, with a worker that answers late."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest
import test_callback_contract as contract
from each_case import naming
from fake_worker import Workers
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from pytorch_lightning.utilities.exceptions import SIGTERMException
from small_trainings import Small, expect_partners, trainer
from torch.optim.swa_utils import get_ema_avg_fn

from lightning_compress import CompressCheckpoint
from lightning_compress.callbacks.export import exports
from lightning_compress.callbacks.export.background.messages import Failed
from lightning_compress.callbacks.export.background.queue import BackgroundQueue
from lightning_compress.errors import CallbackError

SCENARIOS = (
    contract.top_k,
    contract.save_last,
    contract.save_last_link,
    contract.several,
    contract.newest_of_steps,
    contract.by_hand_after_fit,
    contract.exception_overcome,
    contract.resumed_with_link,
    contract.fit_twice,
    contract.overwritten,
    contract.asynchronous,
)


@pytest.fixture
def workers(monkeypatch):
    """Takes the place of processes: each task is verified at the third poll."""
    workers = Workers(polls=2)

    class Queue(BackgroundQueue):
        def __init__(self, exporter, plan, when_full) -> None:
            super().__init__(exporter, plan, when_full, workers.start)

    monkeypatch.setattr(exports, "BackgroundQueue", Queue)
    return workers


def logged(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("lightning_compress")]


def test_every_checkpoint_has_its_file_and_nothing_else_is_left(tmp_path, caplog, workers):
    for scenario in SCENARIOS:
        with naming(scenario.__name__):
            folder = tmp_path / scenario.__name__
            folder.mkdir()
            expected = scenario(folder, CompressCheckpoint("half", on_error="raise", background="wait"))
            assert expect_partners(folder) == expected
    assert not logged(caplog)
    assert workers.started
    assert {worker.ended for worker in workers.started} == {"ended"}


def test_a_disk_slower_than_the_training_costs_files_by_the_policy_and_each_is_named_once(tmp_path, caplog, workers):
    """Epochs are shorter than exports: one is in work and one waits when the third and the fourth are saved."""
    workers.polls = 500
    for when_full, written in (("wait", "0123"), ("skip", "01"), ("latest", "03")):
        with naming(when_full):
            folder = tmp_path / when_full
            each = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
            run = trainer(folder, CompressCheckpoint("half", background=when_full), each, max_epochs=4)
            caplog.clear()
            run.fit(Small())
            assert run.global_step == 16
            companions = {f"epoch={epoch}.compressed.safetensors" for epoch in "0123"}
            present = {f"epoch={epoch}.compressed.safetensors" for epoch in written}
            assert {path.name for path in folder.iterdir() if path.suffix != ".ckpt"} == present
            dropped = [line for line in logged(caplog) if "background=" in line]
            assert len(dropped) == len(companions - present)
            assert all(sum(str(folder / name) in line for line in dropped) == 1 for name in companions - present)


def test_averaged_weights_are_those_of_the_checkpoint(tmp_path, workers):
    class Average(WeightAveraging):
        def __init__(self) -> None:
            super().__init__(avg_fn=get_ema_avg_fn(0.5))

    each = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer(tmp_path, Average(), CompressCheckpoint("half", background="wait"), each, max_epochs=2).fit(Small())
    assert expect_partners(tmp_path) == {"epoch=0.ckpt", "epoch=1.ckpt"}


def test_the_end_of_a_training_by_an_exception_an_interrupt_or_a_signal_finishes_what_is_pending(tmp_path, workers):
    class Stop(Callback):
        def __init__(self, error) -> None:
            self.error = error

        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1 and self.error is SIGTERMException:
                signal.raise_signal(signal.SIGTERM)  # Lightning raises the exception before the next batch
            elif trainer.current_epoch == 1:
                raise self.error

    handler = signal.getsignal(signal.SIGINT)
    for error in (ValueError, KeyboardInterrupt, SIGTERMException):
        with naming(error):
            folder = tmp_path / error.__name__
            workers.polls = 100
            each = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
            run = trainer(folder, CompressCheckpoint("half", background="wait"), each, Stop(error))
            with suppress(ValueError, SystemExit, SIGTERMException):
                run.fit(Small())
            assert expect_partners(folder) == {"epoch=0.ckpt"}
            assert workers.started[-1].ended == "ended"
    signal.signal(signal.SIGINT, handler)  # which Lightning has ignored since


def test_a_failure_is_logged_once_with_its_path_or_raised_at_a_later_hook(tmp_path, caplog, workers):
    workers.answer = lambda number: Failed(number, CallbackError("the disk is full"), None)
    for on_error in ("warn", "raise"):
        with naming(on_error):
            folder = tmp_path / on_error
            each = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
            run = trainer(folder, CompressCheckpoint("half", background="wait", on_error=on_error), each, max_epochs=2)
            if on_error == "raise":
                with pytest.raises(CallbackError, match="the disk is full"):
                    run.fit(Small())
                assert 4 < run.global_step < 8
            else:
                run.fit(Small())
                lines = logged(caplog)
                assert len(lines) == 2
                for epoch, line in enumerate(lines):
                    assert f"no compressed file at {folder / f'epoch={epoch}.compressed.safetensors'}" in line
            assert not list(folder.glob("*.compressed.safetensors"))


def test_a_search_is_refused():
    with pytest.raises(CallbackError, match="background='wait' does not work with plan='auto'"):
        CompressCheckpoint("auto", background="wait")
