"""Carries out jobs: from weights to a companion file, and links and deletions of such files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import torch

from lightning_compress import files
from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export import companion_files
from lightning_compress.callbacks.export.jobs import DeleteJob, Export, ExportJob, Job, LinkJob, Outcome
from lightning_compress.callbacks.export.naming import companion_of
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.runtime import preserved_random_state
from lightning_compress.runtime.progress import spinner
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)


class Exporter:
    """Writes, links and deletes companion files.

    Args:
        compress: weights → their archive. A search evaluates the trainer's live module, so it has to be called in the
            training's own thread; a given plan may be applied anywhere.
        policy: which checkpoints keep a companion file.
    """

    def __init__(self, compress: Callable[[Weights], Archive], policy: Policy) -> None:
        self._compress = compress
        self._policy = policy
        self._latest = ("", "")  # fingerprint of the weights exported last, and their companion file

    def run(self, job: Job) -> Outcome:
        """Carry out a job. After a failure nothing is left at its target, not even an earlier file."""
        try:
            with preserved_random_state(), torch.no_grad():
                return Outcome(job, self._carry_out(job))
        except Exception as error:
            discard(job.target)
            return Outcome(job, error=export_error(job.target, error))

    def latest_archive(self, fingerprint: str) -> Archive | None:
        """The companion file written last, if it holds these weights; ``save_last=True`` saves everything twice."""
        known, path = self._latest
        if known != fingerprint or not is_archive(path):
            return None
        archive = Archive.open(path)
        return archive if archive.manifest.fingerprint == fingerprint else None

    def _carry_out(self, job: Job) -> Export | None:
        if isinstance(job, ExportJob):
            return self._export(job)
        if isinstance(job, LinkJob) and is_archive(job.source):
            companion_files.link(job.source, job.target)
        elif isinstance(job, (LinkJob, DeleteJob)):
            discard(job.target)
        else:
            raise job.error
        return None

    def _export(self, job: ExportJob) -> Export:
        began = perf_counter()
        known = self.latest_archive(job.weights.fingerprint)
        with spinner(job.shows_progress and known is None, "compressing the checkpoint"):
            archive = self._compress(job.weights) if known is None else _with_record_of(known, job.weights)
        files.make_parent_folder(job.target)
        archive.save(job.target)
        self._latest = (job.weights.fingerprint, job.target)
        for checkpoint in self._policy.written(job.checkpoint, job.best):
            discard(companion_of(checkpoint))
        return Export(archive, known is None, perf_counter() - began)


def export_error(target: str, error: Exception) -> CompressionError:
    """What a failed export is reported as."""
    if isinstance(error, CompressionError):
        return error
    failure = CallbackError(f"writing {target} failed with {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _with_record_of(archive: Archive, weights: Weights) -> Archive:
    """An archive of the same tensors with the hyper-parameters and checkpoint values of these weights."""
    record = {name: value for name, value in vars(weights.record).items() if name != "assets"}
    manifest = replace(archive.manifest, **record)
    return archive if manifest == archive.manifest else replace(archive, manifest=manifest, opened_bytes=None)


def discard(path: str) -> None:
    """Delete a companion file. A failure is only logged: it affects no other file."""
    try:
        companion_files.discard(path)
    except Exception as error:
        _log.error("the compressed file %s is obsolete but cannot be deleted: %s", path, error)
