"""Exports, links and deletions are jobs, carried out in the order in which Lightning asks for them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, trainer

from lightning_compress import Archive, CompressCheckpoint, Plan, Weights, compress
from lightning_compress.callbacks.export.exporter import Exporter
from lightning_compress.callbacks.export.jobs import DeleteJob, ExportJob, FailedJob, InlineQueue, LinkJob, Outcome
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.callbacks.moments import Moments
from lightning_compress.errors import CallbackError, WeightsError


def _exporter(when="all"):
    return Exporter(lambda weights: compress(weights, "half"), Policy(Moments.policy(when)))


def _export(folder, name, module=None, best=()):
    target, checkpoint = str(folder / f"{name}.compressed.safetensors"), str(folder / f"{name}.ckpt")
    weights = Weights.from_module(module or Small())
    return ExportJob(target, checkpoint, weights, 1, 0, {"val_loss": 0.5}, frozenset(best), False)


def test_a_job_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DeleteJob("a").target = "b"


def test_the_inline_queue_carries_out_jobs_in_order_and_gives_each_outcome_once():
    queue = InlineQueue(Outcome)
    jobs = [DeleteJob("a"), LinkJob("b", "a"), DeleteJob("c")]
    for job in jobs:
        queue.submit(job)
    assert [outcome.job for outcome in queue.completed()] == jobs
    assert queue.completed() == []


def test_an_export_needs_no_trainer(tmp_path):
    job = _export(tmp_path, "a")
    outcome = _exporter().run(job)
    assert outcome.error is None
    assert outcome.export.is_new
    assert Archive.open(job.target).manifest.plan == Plan.resolve("half").to_config()
    assert Archive.open(job.target).manifest.fingerprint == job.weights.fingerprint


def test_equal_weights_are_compressed_once(tmp_path):
    exporter, module = _exporter(), Small()
    assert exporter.run(_export(tmp_path, "a", module)).export.is_new
    assert not exporter.run(_export(tmp_path, "last", module)).export.is_new
    assert (tmp_path / "a.compressed.safetensors").read_bytes() == (
        tmp_path / "last.compressed.safetensors"
    ).read_bytes()


def test_a_link_leads_to_the_companion_file_or_there_is_none(tmp_path):
    exporter, link = _exporter(), str(tmp_path / "last.compressed.safetensors")
    job = _export(tmp_path, "a")
    exporter.run(job)
    assert exporter.run(LinkJob(link, job.target)).error is None
    assert (tmp_path / "last.compressed.safetensors").resolve() == (tmp_path / "a.compressed.safetensors").resolve()
    exporter.run(DeleteJob(job.target))
    exporter.run(LinkJob(link, job.target))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [WeightsError("no values"), RuntimeError("no values")])
def test_after_a_failure_nothing_is_left_at_the_target(tmp_path, error):
    exporter, job = _exporter(), _export(tmp_path, "a")
    exporter.run(job)
    outcome = exporter.run(FailedJob(job.target, error))
    assert isinstance(outcome.error, (WeightsError, CallbackError))
    assert "no values" in str(outcome.error)
    assert list(tmp_path.iterdir()) == []


def test_only_the_best_and_the_newest_keep_a_file(tmp_path):
    for when, kept in (("last", {"c"}), ("best", {"a", "c"})):
        exporter, folder = _exporter(when), tmp_path / when
        folder.mkdir()
        for name in "abc":
            exporter.run(_export(folder, name, best=[str(folder / "a.ckpt"), str(folder / "c.ckpt")]))
        assert {path.name.removesuffix(".compressed.safetensors") for path in folder.iterdir()} == kept


def test_a_training_submits_its_saves_links_and_deletions_in_order(tmp_path):
    callback, submitted = CompressCheckpoint("half"), []

    class Recording(InlineQueue):
        def submit(self, job):
            submitted.append((type(job).__name__, job.target.rpartition("/")[2]))
            super().submit(job)

    callback._exports._queue = Recording(callback._exports._exporter.run)
    saves = ModelCheckpoint(tmp_path, filename="{epoch}", save_last="link")
    trainer(tmp_path, callback, saves, max_epochs=2).fit(Small())
    assert submitted == [
        ("ExportJob", "epoch=0.compressed.safetensors"),
        ("LinkJob", "last.compressed.safetensors"),
        ("ExportJob", "epoch=1.compressed.safetensors"),
        ("DeleteJob", "epoch=0.compressed.safetensors"),
        ("LinkJob", "last.compressed.safetensors"),
    ]


def test_a_metric_that_is_no_number_does_not_fail_the_export(tmp_path, monkeypatch):
    callback, jobs = CompressCheckpoint("half", on_error="raise"), []

    class Recording(InlineQueue):
        def submit(self, job):
            jobs.append(job)
            super().submit(job)

    callback._exports._queue = Recording(callback._exports._exporter.run)
    run = trainer(tmp_path, callback, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    metrics = {"per_class": torch.ones(2), "val_loss": torch.tensor(0.5)}
    monkeypatch.setattr(type(run), "callback_metrics", property(lambda _: metrics))
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert jobs[0].metrics == {"val_loss": 0.5}
    assert (tmp_path / "a.compressed.safetensors").exists()


def test_a_deletion_leaves_no_outcome_behind(tmp_path):
    callback = CompressCheckpoint("half")
    run = trainer(tmp_path, callback, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(tmp_path / "a.ckpt")
    run.strategy.remove_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "a.compressed.safetensors").exists()
    assert callback._exports._queue.completed() == []
