"""What this package writes.

A method of ours is one small function from a model to candidates; add it to ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lightning_compress as lc
from benchmarks.rate_distortion.method import Candidate, Method
from benchmarks.rate_distortion.source import Source
from lightning_compress import Plan

CODE = (Path(lc.__file__).parent, Path(__file__))


def with_plan(source: Source, setting: str, plan: Plan | str) -> Candidate:
    """The file that a plan makes of a model."""
    return Candidate(setting, lambda path: lc.compress(source.state, plan).save(path), lc.load)


def presets(source: Source) -> Iterable[Candidate]:
    """The plans of the paper, and half precision."""
    for name in ("half", "paper-transformer", "paper-rnn"):
        yield with_plan(source, name, name)


METHODS = [Method("presets", presets, CODE)]
