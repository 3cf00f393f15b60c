"""A compression method offers candidates; each candidate is one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.rate_distortion.source import Source

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Search:
    """How a search made a file.

    Attributes:
        evaluations: number of candidates evaluated; 0 where no search made the file.
    """

    evaluations: int = 0


@dataclass(frozen=True)
class Candidate:
    """One setting of a method.

    Attributes:
        setting: unique within the method; stands in the CSV.
        write: makes the file at a path. Its size is what counts.
        read: the state dict out of that file and nothing else.
        search: the file → what the search that made it says.
    """

    setting: str
    write: Callable[[Path], object]
    read: Callable[[Path], State]
    search: Callable[[Path], Search] = lambda path: Search()


@dataclass(frozen=True)
class Method:
    """A named way to make files.

    Attributes:
        name: stands in the CSV and beside the curve.
        candidates: its settings for one model.
        code: files and folders that decide what the method writes; when one changes, its points are made again.
    """

    name: str
    candidates: Callable[[Source], Iterable[Candidate]]
    code: tuple[Path, ...]
