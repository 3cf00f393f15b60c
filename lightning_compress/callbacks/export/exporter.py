"""Carries out jobs in the training process: from weights to a companion file, and links and deletions of such files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

import torch

from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.callbacks.export.companions.writing import CompanionWriter
from lightning_compress.callbacks.export.jobs import DeleteJob, Export, ExportJob, Job, LinkJob, Outcome
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.files.companion_names import companion_of
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)


class Exporter:
    """Writes, links and deletes companion files.

    Args:
        compress: weights → their archive. A search evaluates the trainer's live module, so it has to be called in the
            training's own thread; a given plan may be applied anywhere.
        policy: which checkpoints keep a companion file.

    Attributes:
        writer: writes the companion files.
    """

    def __init__(self, compress: Callable[[Weights], Archive], policy: Policy) -> None:
        self.writer = CompanionWriter(compress)
        self._policy = policy

    def run(self, job: Job) -> Outcome:
        """Carry out a job. After a failure nothing is left at its target, not even an earlier file."""
        try:
            with preserved_random_state(), torch.no_grad():
                return Outcome(job, self._carry_out(job))
        except Exception as error:
            return failed(job, error)

    def adopt(self, job: ExportJob, fingerprint: str, is_new: bool, seconds: float) -> Outcome:
        """Follow up an export whose file another process has written; arguments as for :class:`Export`."""
        try:
            archive = Archive.open(job.target)
            self.writer.note_written(fingerprint, job.target)
            self._supersede(job)
            return Outcome(job, Export(archive, is_new, seconds))
        except Exception as error:
            return failed(job, error)

    def _carry_out(self, job: Job) -> Export | None:
        if isinstance(job, ExportJob):
            return self._export(job)
        if isinstance(job, LinkJob) and is_archive(source := companion_files.find(job.source)):
            companion_files.link(source, job.target)
        elif isinstance(job, (LinkJob, DeleteJob)):
            discard(job.target)
        else:
            raise job.error
        return None

    def _export(self, job: ExportJob) -> Export:
        began = perf_counter()
        written = self.writer.write(job.weights, job.target, shows_progress=job.shows_progress)
        self._supersede(job)
        return Export(written.archive, written.is_new, perf_counter() - began)

    def _supersede(self, job: ExportJob) -> None:
        """Delete the companion files of the checkpoints that have none now that the one of this job is written."""
        _logging_failure(companion_files.discard_earlier, job.target)
        for checkpoint in self._policy.written(job.checkpoint, job.best):
            discard(companion_of(checkpoint))


def failed(job: Job, error: Exception) -> Outcome:
    """The outcome of a job that failed; nothing is left at its target."""
    discard(job.target)
    return Outcome(job, error=export_error(job.target, error))


def export_error(target: str, error: Exception) -> CompressionError:
    """What a failed export is reported as."""
    if isinstance(error, CompressionError):
        return error
    failure = CallbackError(f"writing {target} failed with {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def discard(path: str) -> None:
    """Delete a companion file with the links to it. A failure is only logged: it affects no other file."""
    _logging_failure(companion_files.discard, path)


def withdraw(path: str) -> None:
    """Delete a companion file that will be written anew; the links to it stay. A failure is only logged."""
    _logging_failure(companion_files.withdraw, path)


def _logging_failure(delete: Callable[[str], object], path: str) -> None:
    try:
        delete(path)
    except Exception as error:
        _log.error("the compressed file %s is obsolete but cannot be deleted: %s", path, error)
