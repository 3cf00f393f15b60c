"""Reads the training curves from the metrics file of Lightning's ``CSVLogger``."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightning_compress.errors import FormatError
from lightning_compress.files import open_file

NAME = "metrics.csv"
_MAX_POINTS = 300  # of a curve; more would not be visible
_OURS = re.compile(r"(compression|quality)/[^/]+$")
_VALIDATION = re.compile(r"(val|valid|validation)([_/].*)?")
_LOSS = re.compile(r"(.*[_/])?loss")
Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share axes.

    Attributes:
        title: title of the panel.
        curves: name → points ``(step, value)``.
        intervals: name of a curve → ``(low, high)`` for each point.
    """

    title: str
    curves: Mapping[str, Curve]
    intervals: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingCurves:
    """The curves of one metrics file."""

    source: Path
    panels: tuple[Panel, ...]

    @classmethod
    def read(cls, path: Path) -> TrainingCurves:
        """The curves in a file: losses, other validation metrics, and metrics of whole compressed files.

        Raises:
            FormatError: the file has no column ``step``, or is not text.
            OSError: the file cannot be read.
        """
        curves = _read(path)
        losses = {name: curve for name, curve in curves.items() if _LOSS.fullmatch(name)}
        others = {n: c for n, c in curves.items() if n not in losses and (_OURS.match(n) or _VALIDATION.fullmatch(n))}
        panels = [Panel("loss", losses)] if losses else []
        ordered = sorted(others, key=lambda name: (_OURS.match(name) is not None, name))
        return cls(path, (*panels, *_panels(others, ordered)))


def _panels(curves: Mapping[str, Curve], ordered: Sequence[str]) -> Iterator[Panel]:
    """One panel per metric: its values with exact and compressed weights, and its confidence interval."""
    taken: set[str] = set()
    for name in ordered:
        low, high = curves.get(f"{name}_low"), curves.get(f"{name}_high")
        beside = f"{name}_compressed"
        if name in taken:
            continue
        intervals: dict[str, Curve] = {}
        if low and high and _steps(low) == _steps(high) == _steps(curves[name]):
            intervals[name] = [(first, last) for (_, first), (_, last) in zip(low, high, strict=True)]
            taken |= {f"{name}_low", f"{name}_high"}
        together = [name, *([beside] if beside in curves else [])]
        taken |= set(together)
        yield Panel(name, {each: curves[each] for each in together}, intervals)


def _steps(curve: Curve) -> list[float]:
    return [step for step, _ in curve]


def _read(path: Path) -> dict[str, Curve]:
    """Name → its points with finite values, in the order of the steps."""
    curves: dict[str, Curve] = {}
    try:
        with io.TextIOWrapper(open_file(str(path)), newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "step" not in (reader.fieldnames or ()):
                raise FormatError(f"{path} has no column 'step': expected a metrics file of Lightning's CSVLogger")
            for row in reader:
                step = _value(row.pop("step"))
                for name, cell in row.items():
                    value = _value(cell)
                    if name is not None and not math.isnan(value + step):
                        curves.setdefault(name, []).append((step, value))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} is not a metrics file of Lightning's CSVLogger: {error}") from error
    return {name: _subsampled(sorted(curve)) for name, curve in curves.items()}


def _value(cell: object) -> float:
    try:
        value = float(cell) if isinstance(cell, str) and cell else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _subsampled(curve: Curve) -> Curve:
    """At most ``_MAX_POINTS`` points, evenly spaced, including the last."""
    stride = -(-len(curve) // _MAX_POINTS)
    return curve if stride <= 1 else curve[::-stride][::-1]
