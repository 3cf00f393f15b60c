"""A worker without a process, whose progress the test decides."""

from __future__ import annotations

import pickle
from collections import deque

from lightning_compress import compress
from lightning_compress.callbacks.export.background.messages import (
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Started,
    Task,
    Verified,
)
from lightning_compress.callbacks.export.background.shared_weights import read_shared


class Workers:
    """Starts fake workers, and holds what they share.

    Attributes:
        started: the workers, in order.
        polls: how often an answer is asked for in vain before a task is verified; None for ever.
        answer: what a task is answered with, in place of a file.
        ends: how many of the first workers end at their first task.
        hangs: how many of the first workers never answer.
        commits: numbers of the tasks whose files got their names.
    """

    def __init__(self, *, polls=0, answer=None, ends=0, hangs=0) -> None:
        self.polls, self.answer, self.ends, self.hangs = polls, answer, ends, hangs
        self.started, self.commits = [], []

    def start(self, setup):
        number = len(self.started)
        self.started.append(FakeWorker(self, pickle.loads(setup.plan).plan, number < self.ends, number < self.hangs))
        return self.started[-1]


class FakeWorker:
    def __init__(self, workers, plan, ends, hangs) -> None:
        self.workers, self.plan, self.ends, self.hangs = workers, plan, ends, hangs
        self.answers = deque([Started()])
        self.task = self.weights = None
        self.waited, self.is_verified = 0, False
        self.ended = None

    def send(self, message, descriptor=None):
        if self.ended:
            raise EOFError
        if isinstance(message, Task):
            self.task, self.waited, self.is_verified = message, 0, False
            self.weights = read_shared(descriptor, message.contents_at, message.nbytes)
        elif isinstance(message, Commit):
            self.workers.commits.append(message.number)
            compress(self.weights, self.plan).save(self.task.target)
            self._answer(Committed(message.number, self.weights.fingerprint, is_new=True))
        elif isinstance(message, Cancel) and self.task and message.number == self.task.number:
            self.answers = deque(a for a in self.answers if not isinstance(a, Verified))
            self._answer(Cancelled(message.number))

    def receive(self, seconds):
        if not self.answers and self.task:
            self._work()
        return self.answers.popleft() if self.answers else None

    def end(self, *, kill=False) -> str:
        self.ended = "killed" if kill else "ended"
        return "killed by signal 9"

    def _work(self):
        if self.ends:
            raise EOFError
        if self.hangs:
            return
        if self.workers.polls is None or self.waited < self.workers.polls:
            self.waited += 1
        elif self.workers.answer:
            self._answer(self.workers.answer(self.task.number))
        elif not self.is_verified:
            self.is_verified = True
            self.answers.append(Verified(self.task.number))

    def _answer(self, message):
        self.answers.append(message)
        self.task = None
