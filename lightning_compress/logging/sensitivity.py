"""Logs how sensitive each class of weights is to compression."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lightning_compress.logging.broadcast import for_each_sink, log_charts, log_table, with_epoch
from lightning_compress.logging.keys import key_parts
from lightning_compress.logging.logger_types import LightningLogger
from lightning_compress.logging.sinks import Sink
from lightning_compress.search import LayerSensitivities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREFIX = "sensitivity"
_OF_MODEL = (f"{PREFIX}/baseline", f"{PREFIX}/rank_correlation/", "epoch")


def sensitivity_scalars(result: LayerSensitivities, tolerance: float | None) -> dict[str, float]:
    """The finite figures of a measurement by the keys they are logged under.

    ``sensitivity/<class>/<strength>`` is the drop with only that class compressed, ``sensitivity/baseline`` the score
    of the uncompressed weights, ``sensitivity/largest_ratio/<class>`` the largest share of the class that can be
    pruned, and ``sensitivity/rank_correlation/<estimate>`` how well an estimate orders the drops. Names are written as
    :func:`~lightning_compress.logging.keys.key_parts` says: ``prune 20 %`` is ``prune_20``.
    """
    groups = key_parts(result.groups)
    strengths = key_parts(strength.label for strength in result.strengths)
    estimates = key_parts(result.rank_correlation)
    values = {f"{PREFIX}/baseline": result.baseline}
    for row, group in enumerate(result.groups):
        for column, strength in enumerate(result.strengths):
            values[f"{PREFIX}/{groups[group]}/{strengths[strength.label]}"] = float(result.drops[row, column])
    for group, ratio in result.largest_ratio(tolerance).items():
        values[f"{PREFIX}/largest_ratio/{groups[group]}"] = ratio
    for name, correlation in result.rank_correlation.items():
        values[f"{PREFIX}/rank_correlation/{estimates[name]}"] = correlation
    return {name: value for name, value in values.items() if math.isfinite(value)}


def log_sensitivity(
    loggers: Iterable[LightningLogger],
    result: LayerSensitivities,
    step: int,
    tolerance: float | None,
    *,
    epoch: int | None = None,
) -> None:
    """Log a measurement: a table, a heat map and a ranking to loggers that can store them, and scalars.

    A logger with tables of its own (Weights & Biases) gets only the scalars of the whole model: a scalar for each class
    and strength would be a panel with one point. Other loggers get all of them.

    A logger that fails, or a chart that cannot be drawn, is reported in the Python log and affects nothing else.

    Args:
        loggers: Lightning loggers, or none.
        result: what was measured.
        step: as :func:`logging_step` gives it.
        tolerance: as for :meth:`LayerSensitivities.largest_ratio`.
        epoch: of the weights, logged beside the scalars.
    """
    loggers = list(loggers)
    values = with_epoch(sensitivity_scalars(result, tolerance), epoch)
    of_model = {name: value for name, value in values.items() if name.startswith(_OF_MODEL)}

    def write(sink: Sink) -> None:
        sink.scalars(of_model if sink.has_tables else values, step)

    for_each_sink(loggers, "did not accept the sensitivity of layers", write)
    log_table(loggers, f"{PREFIX}/table", result.columns(), result.rows(), step)
    log_charts(loggers, "the charts of sensitivity", lambda: _charts(result), step)


def _charts(result: LayerSensitivities) -> Iterator[tuple[str, Figure]]:
    from lightning_compress import charts

    labels = [strength.label for strength in result.strengths]
    unit = f"drop of {result.measure}" if result.higher_is_better else f"rise of {result.measure}"
    title = "One class compressed alone"
    yield f"{PREFIX}/heat_map", charts.heat_map(result.groups, labels, result.drops, title, unit)
    ranked = result.ranked()
    names, means = [name for name, _ in ranked], [mean for _, mean in ranked]
    yield f"{PREFIX}/ranking", charts.ranked_bars(names, means, None, "Most sensitive first", f"mean {unit}")
