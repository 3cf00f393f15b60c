"""What this package writes.

A method of ours is one small function from a model to candidates; add it to ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import lightning_compress as lc
from benchmarks.rate_distortion.method import Candidate, Method
from benchmarks.rate_distortion.source import Source
from lightning_compress import Archive

CODE = (Path(lc.__file__).parent, Path(__file__))


def saved(setting: str, archive: Callable[[], Archive]) -> Candidate:
    """The file of an archive, which is made when the file is wanted."""
    return Candidate(setting, lambda path: archive().save(path), lc.load)


def presets(source: Source) -> Iterable[Candidate]:
    """The plans of the paper, and half precision."""
    for name in ("half", "paper-transformer", "paper-rnn"):
        yield saved(name, partial(lc.compress, source.state, name))


METHODS = [Method("presets", presets, CODE)]
