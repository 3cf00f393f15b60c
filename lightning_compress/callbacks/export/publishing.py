"""Logs the compressed files of a training run, and uploads them to Weights & Biases on request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lightning_compress.archive import Archive
from lightning_compress.callbacks.export.jobs import ExportJob
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.logging import (
    Artifacts,
    Uploads,
    describe_runs,
    log_report,
    log_report_charts,
    runs_of,
)
from lightning_compress.logging.failures import log_failure
from lightning_compress.logging.logger_types import is_placeholder
from lightning_compress.logging.report import SCORES
from lightning_compress.logging.throttle import Throttle
from lightning_compress.logging.wandb_runs.environment import git_commit
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights import Weights

CHARTS_SHARE = 0.005  # of the training time, at most this fraction is spent on drawing charts
_log = logging.getLogger(__name__)


class Publishing:
    """Logs plans and compressed files to the trainer's loggers, and uploads the files on request. Nothing here raises.

    Args:
        artifacts: how files are uploaded to Weights & Biases; True for the defaults, False for no upload.
        pictures: whether charts are drawn for the loggers that display figures: for the first file, for each file
            whose plan differs from the previous one, and otherwise as often as :data:`CHARTS_SHARE` allows.
    """

    def __init__(self, artifacts: Artifacts | bool, pictures: bool) -> None:
        configured = Artifacts() if artifacts is True else artifacts
        self._uploads = Uploads(configured) if configured else None
        self._draws_charts, self._chart_throttle = pictures, Throttle(CHARTS_SHARE)
        self._plan: Mapping[str, Any] | None = None
        self._commit: str | None = None
        self._uploaded = ("", frozenset[str]())  # fingerprint of the weights uploaded last, and their aliases

    def start(self, trainer: Trainer, plan: Mapping[str, Any]) -> None:
        """Describe the run to the loggers when it begins.

        Args:
            trainer: whose run begins.
            plan: the plan as data, or what is known before a search has found it.
        """
        if not trainer.is_global_zero:
            return
        self._plan = plan
        with log_failure("describing the run failed"), preserved_random_state():
            self._commit = git_commit() if self._uploads else None
            describe_runs(trainer.loggers, plan)
        is_dry_run = any(map(is_placeholder, trainer.loggers))  # fast_dev_run replaces the user's loggers
        if self._uploads and not is_dry_run and not runs_of(trainer.loggers):
            _log.warning(
                "artifacts=… uploads to Weights & Biases, but the trainer has no WandbLogger with a run: nothing is "
                "uploaded. pip install wandb, and give the Trainer logger=WandbLogger(…)"
            )

    def new_file(
        self,
        trainer: Trainer,
        archive: Archive,
        weights: Weights,
        *,
        step: int,
        epoch: int | None = None,
        seconds: float,
        measure: str,
    ) -> None:
        """Log a file of weights that no earlier file holds.

        Args:
            trainer: that saved the checkpoint.
            archive: the file.
            weights: those the file was made of.
            step: at which Lightning logs the metrics of the save.
            epoch: of the save.
            seconds: duration of the export.
            measure: the name of the score in the file's metrics; empty if unknown.
        """
        scores = archive.manifest.metrics.get("search", {})
        with log_failure("logging a compressed file failed"):
            log_report(
                trainer.loggers,
                archive.report(),
                seconds=seconds,
                step=step,
                epoch=epoch,
                scores=scores,
                measure=measure,
            )
            is_new_plan = archive.manifest.plan != self._plan
            if is_new_plan:
                self._plan = archive.manifest.plan
                describe_runs(trainer.loggers, archive.manifest.plan)
            if self._draws_charts and (is_new_plan or self._chart_throttle.allows_work):
                with self._chart_throttle.timed_work():
                    log_report_charts(trainer.loggers, archive, weights, step)

    def upload(self, trainer: Trainer, archive: Archive, job: ExportJob) -> None:
        """Upload the companion file of a checkpoint.

        The same weights are uploaded a second time in a row only if they have a new alias.

        Args:
            trainer: that saved the checkpoint.
            archive: the companion file.
            job: that wrote it.
        """
        if self._uploads:
            with log_failure(f"uploading {job.target} failed"):
                self._upload(self._uploads, trainer, archive, job)

    def _upload(self, uploads: Uploads, trainer: Trainer, archive: Archive, job: ExportJob) -> None:
        aliases = {"latest", f"epoch-{job.epoch}"} | ({"best"} if job.is_best else set())
        fingerprint, known = self._uploaded
        if fingerprint == archive.manifest.fingerprint and aliases <= known:
            return
        self._uploaded = archive.manifest.fingerprint, frozenset(aliases)
        uploads.upload(runs_of(trainer.loggers), job.target, sorted(aliases), self._metadata(archive, job))

    def finish(self) -> None:
        """Wait for a limited time, when the run ends, until uploads are complete."""
        if self._uploads:
            self._uploads.finish()

    def _metadata(self, archive: Archive, job: ExportJob) -> dict[str, Any]:
        report, found = archive.report(), archive.manifest.metrics.get("search", {})
        measured = {name: found[name] for name in SCORES if name in found}
        return {
            "bytes": archive.nbytes,
            "ratio": report.ratio,
            "bits_per_weight": report.bits_per_weight,
            **measured,
            "exact_metrics": dict(job.metrics),
            "plan": archive.manifest.plan,
            "epoch": job.epoch,
            "step": job.step,
            "fingerprint": archive.manifest.fingerprint,
            "git_commit": self._commit,
        }
