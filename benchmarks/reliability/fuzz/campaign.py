"""A campaign: how many inputs of each target were run, with which outcomes; kept in a file, and continued from it."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzz.outcome import Target
from benchmarks.reliability.fuzz.worker import Counts, prepare, run_range
from benchmarks.reliability.results import commit

CHUNK = 20_000  # inputs of one process


@dataclass
class Progress:
    """What became of the inputs of one target, from number 0 to ``inputs``."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    memory: int = 0

    def add(self, inputs: int, counts: Counts) -> None:
        """Add the outcomes of a range."""
        self.inputs += inputs
        self.outcomes += counts.outcomes
        self.slowest = max(self.slowest, counts.slowest)
        self.memory = max(self.memory, counts.memory)


@dataclass
class Campaign:
    """The progress of all targets, and what was found.

    Attributes:
        path: where it is kept; None: nowhere.
        targets: name → progress.
        findings: what must not happen, in order of discovery.
        commits: state of the code → inputs run with it.
    """

    path: Path | None = None
    targets: dict[str, Progress] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    commits: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, path: Path) -> Campaign:
        """The campaign that a file holds; a new one if there is none."""
        if not path.exists():
            return cls(path)
        content = json.loads(path.read_text())
        targets = {
            name: Progress(**{**progress, "outcomes": Counter(progress["outcomes"])})
            for name, progress in content["targets"].items()
        }
        return cls(path, targets, content["findings"], Counter(content["commits"]))

    def run(
        self,
        targets: Mapping[str, Target],
        inputs: int,
        report: Callable[[str], None] = print,
        *,
        prepared: bool = True,
    ) -> None:
        """Run until ``inputs`` inputs of all targets together were run since the campaign began.

        After each chunk the file is written, so that an interrupted campaign loses at most one chunk.

        Args:
            targets: by name.
            inputs: of all targets together.
            report: takes a line about each chunk and each finding.
            prepared: whether this process runs a few inputs first, so that its children do not load what it has loaded.
        """
        for target in targets.values() if prepared else ():
            prepare(target)
        code = commit()
        goals = {name: round(inputs * target.share) for name, target in targets.items()}
        while True:
            left = {name: goals[name] - self._progress(name).inputs for name in targets}
            name = max(left, key=lambda name: left[name] / goals[name] if goals[name] else 0)
            if left[name] <= 0:
                return
            size = min(CHUNK, left[name])
            self._run_chunk(targets[name], size, report)
            self.commits[code] += size
            self._save()

    @property
    def inputs(self) -> int:
        """How many inputs were run."""
        return sum(progress.inputs for progress in self.targets.values())

    def _progress(self, name: str) -> Progress:
        return self.targets.setdefault(name, Progress())

    def _run_chunk(self, target: Target, size: int, report: Callable[[str], None]) -> None:
        progress = self._progress(target.name)
        start, stop = progress.inputs, progress.inputs + size
        while start < stop:
            counts, end = run_in_process(target, start, stop)
            progress.add(end - start, counts)
            new = [{"target": target.name, **finding} for finding in counts.findings]
            self.findings += new
            for finding in new:
                report(f"{finding['target']}/{finding['number']}: {finding['what']} {finding['where']}")
            start = end
        report(f"{self.inputs:,} inputs, {len(self.findings)} findings; {target.name}: {dict(progress.outcomes)}")

    def _save(self) -> None:
        if self.path is None:
            return
        targets = {name: vars(progress) for name, progress in self.targets.items()}
        content = {"inputs": self.inputs, "commits": self.commits, "targets": targets, "findings": self.findings}
        text = json.dumps(content, indent=1)
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.write_text(text + "\n")
        temporary.replace(self.path)


def run_in_process(target: Target, start: int, stop: int) -> tuple[Counts, int]:
    """What became of inputs that a process of their own has run, and the number after the last of them.

    If the process dies, the input that was running is a finding, and the outcomes of those before it are run again.
    """
    context = multiprocessing.get_context("fork")
    place: Synchronized[int] = context.Value("q", start)
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(target, start, stop, place, send))
    process.start()
    send.close()
    try:
        counts: Counts = receive.recv()
        process.join()
    except EOFError:
        process.join()
        number = place.value
        if number > start:
            return run_in_process(target, start, number)
        return _death(number, process.exitcode), number + 1
    return counts, stop


def _death(number: int, exit_code: int | None) -> Counts:
    name = signal.Signals(-exit_code).name if exit_code and exit_code < 0 else f"exit status {exit_code}"
    what = "hangs" if name == "SIGPROF" else f"ends the process: {name}"
    return Counts(Counter(finding=1), [{"number": number, "what": what, "where": ""}])


def _serve(
    target: Target, start: int, stop: int, place: Synchronized[int], send: multiprocessing.connection.Connection
) -> None:
    send.send(run_range(target, start, stop, place))
    send.close()
    os._exit(0)
