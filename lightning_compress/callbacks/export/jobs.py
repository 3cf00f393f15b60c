"""Jobs: what a save, a link or a deletion of a checkpoint hands over, and the queue that carries jobs out in order.

A job is complete: it refers to no trainer, so a queue may carry it out later or elsewhere. Jobs are submitted in the
order in which Lightning saved, linked and deleted. Results come back through :meth:`JobQueue.completed`, to the thread
that submits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from lightning_compress.archive import Archive
from lightning_compress.files import normalized_path
from lightning_compress.weights import Weights


@dataclass(frozen=True, eq=False)
class ExportJob:
    """Write the companion file of a checkpoint.

    Attributes:
        target: path of the companion file.
        checkpoint: path of the checkpoint.
        weights: of the checkpoint; their tensors may be those of the live module.
        step: at which Lightning logs the metrics of this save.
        epoch: of the training.
        metrics: those that the trainer logged last.
        best: the checkpoints that ``ModelCheckpoint`` callbacks call best now, as normalized paths.
        shows_progress: whether the trainer shows progress bars.
    """

    target: str
    checkpoint: str
    weights: Weights
    step: int
    epoch: int
    metrics: Mapping[str, float]
    best: frozenset[str]
    shows_progress: bool

    @property
    def is_best(self) -> bool:
        """Whether a ``ModelCheckpoint`` calls the checkpoint its best."""
        return normalized_path(self.checkpoint) in self.best


@dataclass(frozen=True)
class LinkJob:
    """Link ``target`` to the companion file ``source``, or delete it if there is no such file."""

    target: str
    source: str


@dataclass(frozen=True)
class DeleteJob:
    """Delete the companion file ``target``."""

    target: str


@dataclass(frozen=True, eq=False)
class FailedJob:
    """An export whose weights could not be read: only its failure is reported, and ``target`` is deleted."""

    target: str
    error: Exception


Job = ExportJob | LinkJob | DeleteJob | FailedJob


@dataclass(frozen=True, eq=False)
class Export:
    """A companion file that was written.

    Attributes:
        archive: what the file holds.
        is_new: whether no earlier file holds these weights.
        seconds: duration of the job.
    """

    archive: Archive
    is_new: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job.

    Attributes:
        job: that was carried out.
        export: the file that an :class:`ExportJob` has written; None for other jobs and after a failure.
        error: why the job failed; None if it succeeded.
    """

    job: Job
    export: Export | None = None
    error: Exception | None = None


class JobQueue(Protocol):
    """Carries out jobs; exports and links in the order in which they are submitted. Nothing here raises.

    The weights of a job that :meth:`completed` returns are valid until the next call of the queue.
    """

    def prepare(self, target: str) -> None:
        """Expect an export to this file: cancel its pending jobs, and wait for room if the queue lets exports wait.

        To be called before :meth:`completed`, which may give the file of an earlier save its name.
        """

    def submit(self, job: Job) -> None:
        """Add a job."""

    def completed(self) -> list[Outcome]:
        """The outcomes since the last call, in the order in which the jobs were completed."""

    def finish(self, seconds: float) -> None:
        """Wait until all jobs are completed; exports that are not completed in this time fail."""

    def close(self) -> None:
        """End what the queue has started. No job may be submitted after that."""


class InlineQueue:
    """Carries out each job when it is submitted.

    Args:
        run: carries out one job; it does not raise.
    """

    def __init__(self, run: Callable[[Job], Outcome]) -> None:
        self._run = run
        self._outcomes: list[Outcome] = []

    def prepare(self, target: str) -> None:
        """No job is pending, and there is always room."""

    def submit(self, job: Job) -> None:
        """Carry out a job."""
        self._outcomes.append(self._run(job))

    def completed(self) -> list[Outcome]:
        """See :class:`JobQueue`."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def finish(self, seconds: float) -> None:
        """Every job is completed already."""

    def close(self) -> None:
        """Nothing was started."""
