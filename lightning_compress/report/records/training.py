"""Reads the training curves from the metrics file of Lightning's ``CSVLogger``."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lightning_compress.errors import FormatError
from lightning_compress.files import open_file

NAME = "metrics.csv"
_MAX_POINTS = 300  # of a curve; more would not be visible
_VALIDATION = re.compile(r"(val|valid|validation)([_/].*)?")
_LOSS = re.compile(r"(.*[_/])?loss")
_COMPRESSED = "_compressed"
_SCORES = ("compression/score_before", "compression/score_after")
_SIZE = "compression/bytes"
_DROP = re.compile(r"compression/(.*_)?drop")
_LEAST_SPAN = 0.2  # of the largest value: an axis spans at least this, so that 3 % look like 3 %
_LEAST_DROP = 0.05  # of the score: an axis of drops reaches at least this far
Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share axes.

    Attributes:
        title: title of the panel.
        curves: name → points ``(step, value)``.
        include: the lowest and the highest value that the axis has to include.
        intervals: name of a curve → ``(low, high)`` for each point.
    """

    title: str
    curves: Mapping[str, Curve]
    include: tuple[float, float]
    intervals: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingCurves:
    """The curves of one metrics file.

    Attributes:
        source: the file.
        panels: at most four: the losses; the metric with exact and with compressed weights; the size of the compressed
            files; what they lose.
        metric: name of the metric; empty without one.
        exact: the metric with exact weights ``(step, value)``.
    """

    source: Path
    panels: tuple[Panel, ...]
    metric: str = ""
    exact: tuple[tuple[float, float], ...] = ()

    @classmethod
    def read(cls, path: Path) -> TrainingCurves:
        """The curves in a file.

        Raises:
            FormatError: the file has no column ``step``, or is not text.
            OSError: the file cannot be read.
        """
        curves = _read(path)
        losses = {name: curve for name, curve in curves.items() if _LOSS.fullmatch(name)}
        metric, scores = _scores(curves)
        panels = (
            _level_panel("loss", losses),
            _level_panel(metric, scores),
            _size_panel(curves),
            _drop_panel(curves, max((abs(value) for curve in scores.values() for _, value in curve), default=0.0)),
        )
        exact = next(iter(scores.values()), [])
        return cls(path, tuple(panel for panel in panels if panel.curves), metric, tuple(exact))


def _scores(curves: Mapping[str, Curve]) -> tuple[str, dict[str, Curve]]:
    """The metric that shows most: measured with exact and compressed weights, else by a search, else in validation."""
    names = [name.removesuffix(_COMPRESSED) for name in curves if name.endswith(_COMPRESSED)]
    both = sorted((name for name in names if name in curves), key=lambda name: (not name.endswith("/bleu"), name))
    if both:
        return both[0].rpartition("/")[2], _pair(curves, both[0], both[0] + _COMPRESSED)
    if all(name in curves for name in _SCORES):
        return "score", _pair(curves, *_SCORES)
    single = [name for name in curves if _VALIDATION.fullmatch(name) and not _LOSS.fullmatch(name)]
    single += [name for name in curves if name.startswith("quality/")]
    return (single[0], {single[0]: curves[single[0]]}) if single else ("", {})


def _pair(curves: Mapping[str, Curve], exact: str, compressed: str) -> dict[str, Curve]:
    return {"exact weights": curves[exact], "compressed file": curves[compressed]}


def _level_panel(title: str, curves: Mapping[str, Curve]) -> Panel:
    values = [value for curve in curves.values() for _, value in curve] or [0.0]
    low, high = min(values), max(values)
    missing = max(0.0, _LEAST_SPAN * max(abs(low), abs(high)) - (high - low)) / 2
    return Panel(title, curves, (low - missing, high + missing))


def _size_panel(curves: Mapping[str, Curve]) -> Panel:
    title = "bytes of the file"
    return Panel(title, {title: curves[_SIZE]} if _SIZE in curves else {}, (0.0, 0.0))


def _drop_panel(curves: Mapping[str, Curve], score: float) -> Panel:
    """The drop with an interval if there is one, else the first drop."""
    names = sorted(filter(_DROP.fullmatch, curves), key=lambda name: (f"{name}_low" not in curves, name))
    if not names:
        return Panel("drop", {}, (0.0, 0.0))
    name, reach = names[0], _LEAST_DROP * score
    title = f"drop of {name.partition('/')[2].removesuffix('drop').rstrip('_') or 'the score'}"
    low, high = curves.get(f"{name}_low"), curves.get(f"{name}_high")
    intervals: dict[str, Curve] = {}
    if low and high and _steps(low) == _steps(high) == _steps(curves[name]):
        intervals[title] = [(first, last) for (_, first), (_, last) in zip(low, high, strict=True)]
    return Panel(title, {title: curves[name]}, (-reach, reach), intervals)


def _steps(curve: Curve) -> list[float]:
    return [step for step, _ in curve]


def _read(path: Path) -> dict[str, Curve]:
    """Name → its points with finite values, in the order of the steps.

    A search and ``TranslationQuality`` may log a drop under one name at one step: the one with an interval counts.
    """
    curves: dict[str, Curve] = {}
    try:
        with io.TextIOWrapper(open_file(str(path)), newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "step" not in (reader.fieldnames or ()):
                raise FormatError(f"{path} has no column 'step': expected a metrics file of Lightning's CSVLogger")
            rows = [(_value(row.pop("step")), row) for row in reader]
            firm = {(step, name) for step, row in rows for name in row if row.get(f"{name}_low")}
            for step, row in rows:
                for name, cell in row.items():
                    value = _value(cell)
                    is_firm = (step, name) not in firm or row.get(f"{name}_low")
                    if name is not None and not math.isnan(value + step) and is_firm:
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
