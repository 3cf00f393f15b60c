"""Logs how sensitive each class of weights is to compression."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lightning_compress.logging.broadcast import log_charts, log_scalars, log_table
from lightning_compress.logging.keys import key_parts
from lightning_compress.logging.logger_types import LightningLogger
from lightning_compress.search import LayerSensitivities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREFIX = "sensitivity"


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
    loggers: Iterable[LightningLogger], result: LayerSensitivities, step: int, tolerance: float | None
) -> None:
    """Log a measurement: scalars to every logger; a table, a heat map and a ranking to those that can store them.

    A logger that fails, or a chart that cannot be drawn, is reported in the Python log and affects nothing else.

    Args:
        loggers: Lightning loggers, or none.
        result: what was measured.
        step: as :func:`logging_step` gives it.
        tolerance: as for :meth:`LayerSensitivities.largest_ratio`.
    """
    loggers = list(loggers)
    log_scalars(loggers, sensitivity_scalars(result, tolerance), step, "the sensitivity of layers")
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
