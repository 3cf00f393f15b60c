"""The jobs of a trainer: submitted to a queue, and their outcomes logged, uploaded and reported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch

from lightning_compress.archive import Archive
from lightning_compress.callbacks.export.background.queue import BackgroundQueue, WhenFull
from lightning_compress.callbacks.export.exporter import Exporter
from lightning_compress.callbacks.export.jobs import (
    DeleteJob,
    ExportJob,
    InlineQueue,
    Job,
    JobQueue,
    LinkJob,
    Outcome,
)
from lightning_compress.callbacks.export.publishing import Publishing
from lightning_compress.callbacks.export.sharing import SharedWeights
from lightning_compress.callbacks.export.written_files import WrittenFiles, described
from lightning_compress.callbacks.hooks.collective import raise_on_every_rank
from lightning_compress.callbacks.hooks.console import announce
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import best_checkpoints
from lightning_compress.callbacks.hooks.shared_validation import led_by_rank_zero
from lightning_compress.compression import GuidedPlan
from lightning_compress.files.companion_names import companion_of
from lightning_compress.logging import logging_step
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights import Weights

OnError = Literal["warn", "raise"]
END_SECONDS = 1800.0  # that the end of a fit waits for pending exports
EXCEPTION_SECONDS = 60.0  # that a training waits for them which ends by an exception or an interrupt
_log = logging.getLogger(__name__)


class Exports:
    """Carries out the jobs of one callback, and concludes them. Jobs are carried out on rank 0.

    Args:
        exporter: carries out jobs.
        publishing: logs and uploads the files.
        on_error: whether a failure is logged, or raised on every rank.
        measure: trainer → the name of the score in a file's metrics; None if there is none, since no plan is searched.
            A search is led by rank 0, and all ranks validate.

    Attributes:
        written: the files, on rank 0.
    """

    def __init__(
        self, exporter: Exporter, publishing: Publishing, on_error: OnError, measure: Callable[[Trainer], str] | None
    ) -> None:
        self._exporter, self._publishing, self._on_error, self._measure = exporter, publishing, on_error, measure
        self._queue: JobQueue = InlineQueue(exporter.run)
        self._in_background = False  # on every rank
        self._failure: Exception | None = None  # the last one that was not raised yet
        self.written = WrittenFiles()

    @property
    def is_in_background(self) -> bool:
        """Whether a worker process exports, on every rank."""
        return self._in_background

    def start_background(self, trainer: Trainer, plan: GuidedPlan, when_full: WhenFull) -> None:
        """Export in a worker process until :meth:`finish`."""
        self._queue.close()
        self._in_background = True
        if trainer.is_global_zero:
            self._queue = BackgroundQueue(self._exporter, plan, when_full)

    def submit(self, trainer: Trainer, job: Job | None, shared: SharedWeights | None = None) -> None:
        """Submit a job. To be called on every rank: a failure may have to be raised on all of them.

        Args:
            trainer: of this process.
            job: on rank 0; None for no job.
            shared: the weights of the job, where all ranks compress them. It is carried out inline then.

        Raises:
            CompressionError: an export has failed, and ``on_error`` is ``"raise"``.
        """
        work = partial(self._submit, trainer, job)
        if self._measure is not None and not isinstance(job, (LinkJob, DeleteJob)):  # these are on every rank
            led_by_rank_zero(trainer, work)
        elif shared is not None:
            shared.led(lambda: self._submit_and_conclude(trainer, job))
        elif trainer.is_global_zero:
            work()
        self.conclude(trainer)

    def _submit_and_conclude(self, trainer: Trainer, job: Job | None) -> None:
        """As :meth:`_submit`, with what is logged of a file: charts may need the shards of all ranks."""
        self._submit(trainer, job)
        self._conclude_completed(trainer)

    def _submit(self, trainer: Trainer, job: Job | None) -> None:
        if isinstance(job, ExportJob):
            self._queue.prepare(job.target)
            self._conclude_completed(trainer)
        if job is not None:
            self._queue.submit(job)

    def delete(self, trainer: Trainer, checkpoint: str) -> None:
        """Delete the companion file of a checkpoint. To be called on any rank; nothing is raised."""
        if trainer.is_global_zero:
            self._queue.submit(DeleteJob(companion_of(checkpoint)))
            self._conclude_completed(trainer)

    def conclude(self, trainer: Trainer) -> None:
        """Conclude what is completed. To be called on every rank.

        Raises:
            CompressionError: an export has failed, and ``on_error`` is ``"raise"``.
        """
        if trainer.is_global_zero:
            self._conclude_completed(trainer)
        failure, self._failure = self._failure, None
        if self._on_error == "raise":
            raise_on_every_rank(trainer.strategy, failure)

    def poll(self, trainer: Trainer) -> None:
        """Conclude what was completed in the background, at a hook of a batch.

        Raises:
            CompressionError: as for :meth:`conclude`, but only with one process: ranks do not wait for each other here.
        """
        if self._in_background and trainer.is_global_zero:
            self._conclude_completed(trainer)
            if self._failure is not None and trainer.world_size == 1:
                self.conclude(trainer)

    def synchronize(self, trainer: Trainer) -> None:
        """Like :meth:`conclude`; does nothing if exports are not carried out in the background."""
        if self._in_background:
            self.conclude(trainer)

    def finish(self, trainer: Trainer) -> None:
        """Wait until all exports are completed, and export inline from now on. To be called on every rank.

        Raises:
            CompressionError: an export has failed, and ``on_error`` is ``"raise"``.
        """
        self._finish(trainer, END_SECONDS, self._on_error)
        self.conclude(trainer)

    def finish_after_exception(self, trainer: Trainer) -> None:
        """Like :meth:`finish`, but wait less, and log failures: another error is raised already."""
        if self._failure is not None and self._on_error == "raise":  # it was to be raised at the next hook
            _log.error("an export has failed, too: %s", str(self._failure))
        self._finish(trainer, EXCEPTION_SECONDS, "warn")
        self._failure = None

    def forget_latest(self) -> None:
        """Compress the next weights even if the file written last holds them."""
        self._exporter.writer.note_written("", "")

    def latest_archive(self, weights: Weights) -> Archive | None:
        """The companion file written last, if it holds these weights. Pending exports are waited for."""
        self._queue.finish(END_SECONDS)
        return self._exporter.writer.latest_archive(weights.fingerprint)

    def _finish(self, trainer: Trainer, seconds: float, on_error: OnError) -> None:
        queue, self._in_background = self._queue, False
        if not isinstance(queue, BackgroundQueue):
            return
        self._queue = InlineQueue(self._exporter.run)
        try:
            queue.finish(seconds)
        finally:
            queue.close()
            for outcome in queue.completed():
                self._conclude(trainer, outcome, on_error)

    def _conclude_completed(self, trainer: Trainer) -> None:
        for outcome in self._queue.completed():
            self._conclude(trainer, outcome, self._on_error)

    def _conclude(self, trainer: Trainer, outcome: Outcome, on_error: OnError) -> None:
        """Log and upload the file of a job, or report that it failed."""
        job, export = outcome.job, outcome.export
        self.written.note(outcome)
        if outcome.error is not None:
            self._failure = outcome.error
            if on_error == "warn":
                _log.error("no compressed file at %s, the training goes on: %s", job.target, str(outcome.error))
        if isinstance(job, ExportJob) and export is not None:
            measure = self._measure(trainer) if self._measure else ""
            announce(described(job.target, export))
            with preserved_random_state(), torch.no_grad():
                if export.is_new:
                    self._publishing.new_file(
                        trainer,
                        export.archive,
                        job.weights,
                        step=job.step,
                        epoch=job.epoch,
                        seconds=export.seconds,
                        measure=measure,
                    )
                self._publishing.upload(trainer, export.archive, job)


def export_job(trainer: Trainer, weights: Weights, checkpoint: str, *, shows_progress: bool) -> ExportJob:
    """The job of a checkpoint that is being saved.

    Args:
        trainer: that saves it.
        weights: of the checkpoint.
        checkpoint: its path.
        shows_progress: whether the export may show progress.
    """
    metrics: Mapping[str, torch.Tensor] = trainer.callback_metrics
    return ExportJob(
        target=companion_of(checkpoint),
        checkpoint=checkpoint,
        weights=weights,
        step=logging_step(trainer),
        epoch=trainer.current_epoch,
        metrics={name: float(value) for name, value in metrics.items() if value.numel() == 1},
        best=best_checkpoints(trainer),
        shows_progress=shows_progress and trainer.progress_bar_callback is not None,
    )
