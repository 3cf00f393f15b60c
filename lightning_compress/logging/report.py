"""A compressed file's figures, as scalars for every logger and as a table for those that draw one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_compress.archive import Report

PREFIX = "compression"
SCORES = ("score_before", "score_after", "drop")
COLUMNS = ("class", "weights", "raw bytes", "bytes", "bits per weight", "sparsity")
_log = logging.getLogger(__name__)


def scalars(report: Report, seconds: float) -> dict[str, float]:
    """The file's figures by the keys they are logged under.

    ``compression/bytes`` is the file on disk, ``compression/ratio`` the raw weights over it,
    ``compression/bits_per_weight`` follows from both, ``compression/seconds`` is what the export took.
    """
    return {
        f"{PREFIX}/bytes": float(report.file_bytes),
        f"{PREFIX}/ratio": float(report.ratio),
        f"{PREFIX}/bits_per_weight": float(report.bits_per_weight),
        f"{PREFIX}/seconds": seconds,
    }


def class_table(report: Report) -> list[list[str | int | float]]:
    """One row for each class of weights, as :data:`COLUMNS` say; sparsity is a fraction."""
    return [
        [row.class_name, row.weights, row.raw_bytes, row.bytes, row.bits_per_weight, row.sparsity]
        for row in report.by_class()
    ]


def log_report(
    loggers: Iterable[Any],
    report: Report,
    *,
    seconds: float,
    step: int,
    scores: Mapping[str, Any] | None = None,
    measure: str = "",
) -> None:
    """Log the figures to every logger; one that fails is named in the Python log and does no harm.

    A logger with ``log_table`` (Weights & Biases) gets the classes as a table, any other as scalars
    ``compression/<class>/bytes`` and ``compression/<class>/bits_per_weight``.

    Args:
        loggers: Lightning loggers, or none.
        report: of the written file.
        seconds: duration of the export.
        step: the step at which Lightning logs now.
        scores: what a search measured, by the names in a file's metrics.
        measure: the name of that score; where it says BLEU, the drop is logged as ``compression/bleu_drop`` as well.
    """
    measured = {f"{PREFIX}/{name}": scores[name] for name in SCORES if scores and name in scores}
    if "bleu" in measure.lower() and scores and "drop" in scores:
        measured[f"{PREFIX}/bleu_drop"] = scores["drop"]
    for logger in loggers:
        _log_to(logger, report, {**scalars(report, seconds), **measured}, step)


def _log_to(logger: Any, report: Report, totals: Mapping[str, float], step: int) -> None:
    try:
        if hasattr(logger, "log_table"):
            logger.log_metrics(totals, step=step)
            logger.log_table(f"{PREFIX}/classes", columns=list(COLUMNS), data=class_table(report), step=step)
        else:
            logger.log_metrics({**totals, **_class_scalars(report)}, step=step)
    except Exception as error:
        _log.error("%s did not take the figures of a compression: %r", type(logger).__name__, error)


def _class_scalars(report: Report) -> dict[str, float]:
    values: dict[str, float] = {}
    for row in report.by_class():
        values[f"{PREFIX}/{row.class_name}/bytes"] = float(row.bytes)
        values[f"{PREFIX}/{row.class_name}/bits_per_weight"] = float(row.bits_per_weight)
    return values
