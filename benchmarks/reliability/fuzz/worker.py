"""Runs a range of inputs in a process whose memory and time are limited, and says what became of them."""

from __future__ import annotations

import logging
import resource
import signal
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from random import Random
from typing import Any

import torch

from benchmarks.reliability.fuzz.outcome import MAX_BYTES, READ, Target
from lightning_compress.archive.limits import MEMORY_BASE, MEMORY_FACTOR

SLOW = 1.0  # seconds of CPU time that no input may take
HANG = 10.0  # seconds after which the process is ended
_ALLOCATORS = 32 << 20  # bytes that allocators hold beside what they were asked for
_STATED = MEMORY_FACTOR * MAX_BYTES + MEMORY_BASE


@dataclass
class Counts:
    """What became of a range of inputs.

    Attributes:
        outcomes: "read" or the name of the error → number of inputs.
        findings: what must not happen: number of the input, what, where.
        slowest: seconds of CPU time of the slowest input.
        memory: bytes by which the peak of the process has risen.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0


def random_of(target: str, number: int) -> Random:
    """The random numbers that determine an input."""
    return Random(f"{target}/{number}")


def prepare(target: Target) -> None:
    """Run other inputs in this process, which is forked later.

    Imports, compiled loops and sound inputs then count for none of the inputs that are measured.
    """
    torch.set_num_threads(1)
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    for number in range(-300, 0):
        _run_one(target, number, Counts())


def run_range(target: Target, start: int, stop: int, place: Synchronized[int]) -> Counts:
    """Run inputs in this process; ``place`` always holds the number of the one that is running."""
    counts = Counts()
    before = _peak()
    _limit_memory()
    for number in range(start, stop):
        place.value = number
        signal.setitimer(signal.ITIMER_PROF, HANG)
        seconds = _run_one(target, number, counts)
        if seconds > SLOW:
            seconds = min(seconds, _run_one(target, number, Counts()))  # the first time a loop may have been compiled
        counts.slowest = max(counts.slowest, seconds)
        if seconds > SLOW:
            counts.findings.append({"number": number, "what": f"{seconds:.1f} s of CPU time", "where": ""})
    signal.setitimer(signal.ITIMER_PROF, 0)
    counts.memory = _peak() - before
    return counts


def _run_one(target: Target, number: int, counts: Counts) -> float:
    """The CPU time that reading an input took, in seconds; its outcome is added to the counts."""
    began, seconds = time.process_time(), None
    try:
        compare = target.run(random_of(target.name, number))
        seconds = time.process_time() - began
        compare()
        counts.outcomes[READ] += 1
    except target.refusals as error:
        counts.outcomes[type(error).__name__] += 1
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        counts.outcomes["finding"] += 1
        counts.findings.append({"number": number, "what": f"{type(error).__name__}: {error}"[:400], "where": where})
    return time.process_time() - began if seconds is None else seconds


def _limit_memory() -> None:
    """An allocation beyond what the limits of the format allow fails, which is a finding."""
    used = _status("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (used + _STATED + _ALLOCATORS,) * 2)


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))
