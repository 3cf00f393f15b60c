"""Charts of a compressed file, for the loggers that can hold pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from lightning_compress.archive import Archive
from lightning_compress.logging.media import log_figure
from lightning_compress.logging.report import PREFIX
from lightning_compress.logging.sinks import takes_pictures
from lightning_compress.runtime import preserved_random_state
from lightning_compress.search import Frontier
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)


def log_pictures(loggers: Iterable[Any], archive: Archive, weights: Weights, step: int) -> None:
    """Log the bytes of each class, the frontier where a search left one, and the weights before and after.

    The keys are ``compression/bytes_by_class``, ``compression/histograms`` and ``compression/frontier``. A chart that
    cannot be drawn, for want of matplotlib say, is named in the Python log.

    Args:
        loggers: Lightning loggers, or none; where none of them holds pictures, nothing is drawn.
        archive: of the file.
        weights: those it was made of.
        step: as :func:`logging_step` gives it.
    """
    takers = [logger for logger in loggers if takes_pictures(logger)]
    if not takers:
        return
    try:
        with preserved_random_state():
            for key, figure in _figures(archive, weights):
                log_figure(takers, key, figure, step)
    except Exception as error:
        _log.error("the charts of a compression were not drawn, the training goes on: %s", error)


def _figures(archive: Archive, weights: Weights) -> Iterator[tuple[str, Any]]:
    from lightning_compress import charts

    yield f"{PREFIX}/bytes_by_class", charts.bytes_by_class(archive.report().by_class())
    facts = archive.manifest.metrics.get("search", {})
    if "frontier" in facts:
        points = [("", nbytes, score) for _, nbytes, score in Frontier.from_metrics(archive.manifest.metrics).points]
        yield f"{PREFIX}/frontier", charts.frontier(points, facts.get("score_before"))
    yield f"{PREFIX}/histograms", _histograms(archive, weights)


def _histograms(archive: Archive, weights: Weights) -> Any:
    from lightning_compress import charts

    restored = archive.restore()
    exact: dict[str, list[Tensor]] = {}
    stored: dict[str, list[Tensor]] = {}
    for weight in weights:
        if weight.tensor.is_floating_point():
            exact.setdefault(weight.class_name, []).append(weight.tensor)
            stored.setdefault(weight.class_name, []).append(restored[weight.name])
    before = {name: charts.histogram_of(tensors) for name, tensors in exact.items()}
    after = {name: charts.histogram_of(stored[name], range=before[name].range) for name in stored}
    return charts.weight_histograms(before, after)
