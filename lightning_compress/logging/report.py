"""Logs what is known of one compressed file: scalars, a table of its classes of weights, and charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightning_compress.archive import Archive, Report
from lightning_compress.logging.broadcast import for_each_sink, log_charts, with_epoch
from lightning_compress.logging.keys import key_parts
from lightning_compress.logging.logger_types import LightningLogger
from lightning_compress.logging.sinks import Sink
from lightning_compress.search import Frontier
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREFIX = "compression"
SCORES = ("score_before", "score_after", "drop", "expected_drop", "assured")
COLUMNS = ("class", "weights", "raw bytes", "bytes", "bits per weight", "sparsity")


def report_scalars(report: Report, seconds: float) -> dict[str, float]:
    """The figures of a file by the keys they are logged under.

    ``compression/bytes`` is the size of the file on disk, ``compression/ratio`` the bytes of the uncompressed tensors
    divided by it, ``compression/bits_per_weight`` the bits on disk for each weight, and ``compression/seconds`` the
    duration of the export.
    """
    return {
        f"{PREFIX}/bytes": float(report.file_bytes),
        f"{PREFIX}/ratio": float(report.ratio),
        f"{PREFIX}/bits_per_weight": float(report.bits_per_weight),
        f"{PREFIX}/seconds": seconds,
    }


def class_table(report: Report) -> list[list[str | int | float]]:
    """One row for each class of weights, with the columns :data:`COLUMNS`; sparsity is a fraction."""
    return [
        [row.class_name, row.weights, row.raw_bytes, row.bytes, row.bits_per_weight, row.sparsity]
        for row in report.by_class()
    ]


def log_report(
    loggers: Iterable[LightningLogger],
    report: Report,
    *,
    seconds: float,
    step: int,
    epoch: int | None = None,
    scores: Mapping[str, Any] | None = None,
    measure: str = "",
) -> None:
    """Log the figures of a file to every logger; the failure of one does not affect the others.

    A logger with ``log_table`` (Weights & Biases) gets the classes as a table, any other as scalars
    ``compression/<class>/bytes`` and ``compression/<class>/bits_per_weight``.

    Args:
        loggers: Lightning loggers, or none.
        report: of the written file.
        seconds: duration of the export.
        step: as :func:`logging_step` gives it.
        epoch: of the checkpoint, logged beside the figures.
        scores: what a search measured, by the names in a file's metrics.
        measure: the name of that score; if it contains "bleu", the drop is logged as ``compression/bleu_drop`` too.
    """
    totals = with_epoch({**report_scalars(report, seconds), **_score_scalars(scores or {}, measure)}, epoch)

    def write(sink: Sink) -> None:
        if sink.has_tables:
            sink.scalars(totals, step)
            sink.table(f"{PREFIX}/classes", COLUMNS, class_table(report), step)
        else:
            sink.scalars({**totals, **_class_scalars(report)}, step)

    for_each_sink(loggers, "did not accept the figures of a compressed file", write)


def log_report_charts(loggers: Iterable[LightningLogger], archive: Archive, weights: Weights, step: int) -> None:
    """Log charts of a file: the bytes of each class, the frontier of a search, the weights before and after.

    The keys are ``compression/bytes_by_class``, ``compression/frontier`` (only with a search) and
    ``compression/histograms``.

    Args:
        loggers: Lightning loggers, or none; nothing is drawn where none of them displays figures.
        archive: the file.
        weights: those the file was made of.
        step: as :func:`logging_step` gives it.
    """
    log_charts(loggers, "the charts of a compressed file", lambda: _charts(archive, weights), step)


def _score_scalars(scores: Mapping[str, Any], measure: str) -> dict[str, float]:
    values = {f"{PREFIX}/{name}": scores[name] for name in SCORES if name in scores}
    if "bleu" in measure.lower() and "drop" in scores:
        values[f"{PREFIX}/bleu_drop"] = scores["drop"]
    return values


def _class_scalars(report: Report) -> dict[str, float]:
    values: dict[str, float] = {}
    rows = report.by_class()
    parts = key_parts(row.class_name for row in rows)
    for row in rows:
        values[f"{PREFIX}/{parts[row.class_name]}/bytes"] = float(row.bytes)
        values[f"{PREFIX}/{parts[row.class_name]}/bits_per_weight"] = float(row.bits_per_weight)
    return values


def _charts(archive: Archive, weights: Weights) -> Iterator[tuple[str, Figure]]:
    from lightning_compress import charts

    yield f"{PREFIX}/bytes_by_class", charts.bytes_by_class(archive.report().by_class())
    found = archive.manifest.metrics.get("search", {})
    if "frontier" in found:
        points = [("", nbytes, score) for _, nbytes, score in Frontier.from_metrics(archive.manifest.metrics).points]
        yield f"{PREFIX}/frontier", charts.frontier(points, found.get("score_before"))
    yield f"{PREFIX}/histograms", _histograms(archive, weights)


def _histograms(archive: Archive, weights: Weights) -> Figure:
    from lightning_compress import charts

    restored = archive.restore()
    original: dict[str, list[Tensor]] = {}
    stored: dict[str, list[Tensor]] = {}
    for weight in weights:
        if weight.tensor.is_floating_point():
            original.setdefault(weight.class_name, []).append(weight.tensor)
            stored.setdefault(weight.class_name, []).append(restored[weight.name])
    before, after = {}, {}
    for name, tensors in original.items():
        span, bins = charts.common_bins(tensors, stored[name])
        before[name] = charts.histogram_of(tensors, bins, span)
        after[name] = charts.histogram_of(stored[name], bins, span)
    return charts.weight_histograms(before, after)
