"""The queue of jobs whose exports a worker process carries out.

All of it runs in the training's own thread, a step at a time: when a job is submitted, and when outcomes are asked for.
Which file stands under a name is decided here alone: once a checkpoint was saved again or deleted, the export of its
earlier weights is cancelled, so the late file of an earlier save never gets the name.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from time import monotonic, perf_counter
from typing import Literal

from lightning_compress.callbacks.export.background.dispatch import Dispatcher, PendingExport, Worker
from lightning_compress.callbacks.export.background.export_in_work import ExportInWork, given_up
from lightning_compress.callbacks.export.background.messages import Setup
from lightning_compress.callbacks.export.background.notices import tell, tell_inline
from lightning_compress.callbacks.export.background.shared_weights import MemoryPool, SharedWeights
from lightning_compress.callbacks.export.background.worker_process import WorkerProcess
from lightning_compress.callbacks.export.exporter import Exporter, discard, failed, withdraw
from lightning_compress.callbacks.export.jobs import ExportJob, Job, LinkJob, Outcome
from lightning_compress.compression import GuidedPlan
from lightning_compress.files import is_remote, normalized_path

WhenFull = Literal["wait", "skip", "latest"]
MAX_WAITING = 1  # exports, beside the one in work; each holds a copy of the weights
_QUIET_SECONDS = 5.0  # after which the log says what is waited for
_STEP_SECONDS = 1.0
_log = logging.getLogger(__name__)


class BackgroundQueue:
    """Exports in a worker process, in the order in which they are submitted.

    Links follow the exports that were submitted before them. A deletion is carried out at once, and cancels the pending
    export of its file. An export that the worker cannot carry out is carried out in this process, and the log says why:
    its file is remote, or the plan has a class that the worker cannot import, such as one of the user's script.

    Args:
        exporter: carries out the other jobs, and follows up the exports.
        plan: of the exports.
        when_full: what happens to an export while :data:`MAX_WAITING` others wait: ``"wait"``, the training waits;
            ``"skip"``, it is dropped; ``"latest"``, the oldest that waits is dropped.
        start: starts a worker.
    """

    def __init__(
        self,
        exporter: Exporter,
        plan: GuidedPlan,
        when_full: WhenFull,
        start: Callable[[Setup], Worker] = WorkerProcess,
    ) -> None:
        self._exporter, self._when_full = exporter, when_full
        self._in_work = ExportInWork(exporter, Dispatcher(plan, start), self._conclude)
        self._waiting: deque[PendingExport | LinkJob] = deque()
        self._outcomes: list[Outcome] = []
        self._pool = MemoryPool()
        self._numbers = count(1)

    @property
    def pending(self) -> list[str]:
        """The companion files that are to be written, in order."""
        running = self._running
        known = [running] if running and not running.is_cancelled else []
        return [job.target for job in (*known, *self._waiting)]

    @property
    def _running(self) -> PendingExport | None:
        return self._in_work.pending

    def prepare(self, target: str) -> None:
        """See :class:`JobQueue`."""
        self._drop_jobs_of(target)
        self._wait_for_room()

    def _wait_for_room(self) -> None:
        quiet_until = monotonic() + _QUIET_SECONDS
        while self._when_full == "wait" and self._is_full:
            self._step(_STEP_SECONDS)
            if monotonic() > quiet_until:
                tell("the training waits, because exports take longer than the time between two saves")

    def submit(self, job: Job) -> None:
        """See :class:`JobQueue`."""
        self._drop_jobs_of(job.target)
        if isinstance(job, ExportJob):
            self._submit_export(job)
        elif isinstance(job, LinkJob) and (self._running or self._waiting):
            discard(job.target)  # it leads to an earlier checkpoint's file
            self._waiting.append(job)
        else:
            self._outcomes.append(self._exporter.run(job))

    def completed(self) -> list[Outcome]:
        """See :class:`JobQueue`. It does not wait."""
        self._pool.outcomes_concluded()
        while self._step(0):
            pass
        outcomes, self._outcomes = self._outcomes, []
        self._pool.outcomes_returned()
        return outcomes

    def finish(self, seconds: float) -> None:
        """See :class:`JobQueue`."""
        began, is_told = monotonic(), False
        while (self._running or self._waiting) and (waited := monotonic() - began) < seconds:
            if waited > _QUIET_SECONDS and not is_told:
                _log.warning("waiting for %d companion files: %s", len(self.pending), ", ".join(self.pending))
                is_told = True
            self._step(min(_STEP_SECONDS, seconds - waited))
        self._fail_exports(f"it was not finished in the {seconds:g} seconds that the end of a training waits for it")

    def close(self) -> None:
        """See :class:`JobQueue`."""
        is_working = self._running is not None
        self._fail_exports("the training has ended")
        self._in_work.end_worker(kill=is_working)
        self._pool = MemoryPool()

    # Submitting

    def _submit_export(self, job: ExportJob) -> None:
        began = perf_counter()
        self._pool.outcomes_concluded()
        withdraw(job.target)  # it holds the weights of an earlier save
        self._wait_for_room()
        if is_remote(job.target):
            tell_inline("a remote filesystem gives a file its name before it is verified")
            self._run_inline(job)
        elif not self._in_work.has_worker:
            self._run_inline(job)
        elif self._makes_room(job):
            self._copy(job, began)
            self._step(0)

    @property
    def _is_full(self) -> bool:
        waiting = sum(isinstance(job, PendingExport) for job in self._waiting)
        return waiting >= MAX_WAITING + (self._running is None)

    def _makes_room(self, job: ExportJob) -> bool:
        """Drop an export if the queue is full; whether it is another one than this."""
        if self._is_full and self._when_full == "skip":
            discard(job.target)
            _log.warning("no compressed file at %s: exports are still pending (background='skip')", job.target)
            return False
        if self._is_full:
            oldest = next(job.target for job in self._waiting if isinstance(job, PendingExport))
            self._drop_jobs_of(oldest)
            discard(oldest)
            _log.warning("no compressed file at %s: a newer checkpoint comes first (background='latest')", oldest)
        return True

    def _copy(self, job: ExportJob, began: float) -> None:
        try:
            copy = SharedWeights.copy_of(job.weights, self._pool)
        except OSError as error:
            self._outcomes.append(failed(job, error))
        except Exception as error:
            tell_inline(f"{type(error).__name__}: {error}")
            self._run_inline(job)
        else:
            job = replace(job, weights=copy.weights)
            self._waiting.append(PendingExport(job, copy, began, next(self._numbers)))

    def _run_inline(self, job: ExportJob) -> None:
        while self._running or self._waiting:
            self._step(_STEP_SECONDS)
        self._outcomes.append(self._exporter.run(job))

    def _drop_jobs_of(self, target: str) -> None:
        """Cancel the pending jobs of a companion file."""
        name = normalized_path(target)
        for job in [job for job in self._waiting if normalized_path(job.target) == name]:
            self._waiting.remove(job)
            if isinstance(job, PendingExport):
                self._pool.give_back(job.copy.memory)
        running = self._running
        if running and not running.is_cancelled and normalized_path(running.target) == name:
            self._in_work.cancel()

    # Carrying out

    def _step(self, seconds: float) -> bool:
        """Take a result of the worker, or begin the next job; whether there was one."""
        if self._running:
            return self._in_work.take_result(seconds)
        if not self._waiting:
            return False
        job = self._waiting[0]
        if isinstance(job, PendingExport):
            self._in_work.accept(job)
            self._waiting.popleft()
            self._in_work.begin(job)
        else:
            self._outcomes.append(self._exporter.run(job))
            self._waiting.popleft()
        return True

    def _conclude(self, pending: PendingExport, outcome: Outcome | None) -> None:
        self._pool.keep(pending.copy.memory)
        if outcome is not None:
            self._outcomes.append(outcome)

    def _fail_exports(self, reason: str) -> None:
        """End what is pending: exports fail, links find no file."""
        self._in_work.give_up(reason)
        while self._waiting:
            job = self._waiting.popleft()
            self._outcomes.append(given_up(job, reason) if isinstance(job, PendingExport) else self._exporter.run(job))
