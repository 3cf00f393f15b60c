"""Writes result rows to CSV files, and ``baseline.csv`` with the model and text they belong to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from recipes.errors import ExperimentError
from recipes.paper.experiments.experiment import Cell, Row
from recipes.paper.measurement.cache import write_text_atomically
from recipes.paper.measurement.context import ExperimentContext

BASELINE = "baseline.csv"
_COLUMNS = ("checkpoint", "class_path", "weights", "raw_bytes", "bleu", "signature", "sentences", "split", "beam")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> None:
    """Write a CSV file with a header; a cell that a row lacks is empty.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    write_text_atomically(path, text.getvalue())


def write_baseline(context: ExperimentContext) -> None:
    """Write ``baseline.csv``: model, text and BLEU of the exact weights.

    Raises:
        ExperimentError: the folder holds results of another model or another text.
        OSError: it cannot be written.
    """
    settings, path = context.settings, context.settings.out / BASELINE
    row: Row = {
        "checkpoint": str(settings.checkpoint),
        "class_path": context.weights.class_path,
        "weights": sum(weight.tensor.numel() for weight in context.weights),
        "raw_bytes": context.raw_bytes,
        "bleu": context.exact.score.value,
        "signature": context.evaluation.signature,
        "sentences": len(context.evaluation.references),
        "split": settings.split,
        "beam": context.evaluation.beam,
    }
    wanted = {name: _text(value) for name, value in row.items()}
    for found in _rows(path):
        for name in ("class_path", "weights", "split", "sentences", "beam", "signature", "bleu"):
            if found.get(name) != wanted[name]:
                raise ExperimentError(
                    f"{settings.out} holds results with {name} {found.get(name)}, and this run has {wanted[name]}: "
                    f"give another --out, or remove {path} and the other CSV files there (points/ may stay)"
                )
    write_rows(path, _COLUMNS, [row])


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def _text(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.8g}" if isinstance(value, float) else str(value)
