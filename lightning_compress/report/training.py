"""Curves of a training, from the metrics file of Lightning's ``CSVLogger``."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_compress.errors import FormatError

NAME = "metrics.csv"
_MOST = 300  # points of a curve; more would not be seen
_FILE_WIDE = re.compile(r"compression/[^/]+")
_VALIDATION = re.compile(r"(val|valid|validation)([_/].*)?")
_LOSS = re.compile(r"(.*[_/])?loss")
Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share axes: a title, and name → points ``(step, value)``."""

    title: str
    curves: Mapping[str, Curve]


@dataclass(frozen=True)
class Training:
    """The curves of one metrics file."""

    source: Path
    panels: tuple[Panel, ...]

    @classmethod
    def read(cls, path: Path) -> Training:
        """The curves in a file: what ``compression/…`` says of whole files, losses, and other validation metrics.

        Raises:
            FormatError: it has no column ``step``, or is not text.
            OSError: it cannot be read.
        """
        curves = _read(path)
        losses = {name: curve for name, curve in curves.items() if _LOSS.fullmatch(name)}
        others = [n for n in curves if n not in losses and (_FILE_WIDE.fullmatch(n) or _VALIDATION.fullmatch(n))]
        ordered = sorted(others, key=lambda name: (name.startswith("compression/"), name))
        panels = [Panel("loss", losses)] if losses else []
        return cls(path, (*panels, *(Panel(name, {name: curves[name]}) for name in ordered)))


def _read(path: Path) -> dict[str, Curve]:
    """Name → its points, by rising steps, without gaps and without values that are not finite."""
    curves: dict[str, Curve] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
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
    return {name: _thinned(sorted(curve)) for name, curve in curves.items()}


def _value(cell: object) -> float:
    try:
        value = float(cell) if isinstance(cell, str) and cell else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _thinned(curve: Curve) -> Curve:
    """At most so many of the points, evenly chosen, the last among them."""
    stride = -(-len(curve) // _MOST)
    return curve if stride <= 1 else curve[::-stride][::-1]
