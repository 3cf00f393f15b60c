"""Which parts of a model bear compression, told to every logger."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_compress.logging.media import log_figure, log_table
from lightning_compress.logging.sinks import takes_pictures
from lightning_compress.runtime import preserved_random_state
from lightning_compress.search import LayerSensitivities

PREFIX = "sensitivity"
_log = logging.getLogger(__name__)


def sensitivity_scalars(result: LayerSensitivities, tolerance: float | None) -> dict[str, float]:
    """The finite figures of a measurement by the keys they are logged under.

    ``sensitivity/<class>/<strength>`` is the drop with that class compressed, ``sensitivity/baseline`` the score of the
    exact weights, ``sensitivity/largest_ratio/<class>`` the largest share of it that can be pruned, and
    ``sensitivity/rank_correlation/<estimate>`` how well an estimate orders the drops. What is no letter, digit, dot,
    minus or underscore becomes an underscore: ``prune 20 %`` is ``prune_20``.
    """
    values = {f"{PREFIX}/baseline": result.baseline}
    for row, group in enumerate(result.groups):
        for column, strength in enumerate(result.strengths):
            values[f"{PREFIX}/{_key(group)}/{_key(strength.label)}"] = float(result.drops[row, column])
    for group, ratio in result.largest_ratio(tolerance).items():
        values[f"{PREFIX}/largest_ratio/{_key(group)}"] = ratio
    for name, correlation in result.rank_correlation.items():
        values[f"{PREFIX}/rank_correlation/{_key(name)}"] = correlation
    return {name: value for name, value in values.items() if math.isfinite(value)}


def log_sensitivity(loggers: Iterable[Any], result: LayerSensitivities, step: int, tolerance: float | None) -> None:
    """Log a measurement: scalars to every logger, to those that can hold them a table, a heat map and a ranking.

    A logger that fails, or a chart that cannot be drawn, is named in the Python log and does no harm.

    Args:
        loggers: Lightning loggers, or none.
        result: what was measured.
        step: the step at which Lightning logs now.
        tolerance: as for :meth:`LayerSensitivities.largest_ratio`.
    """
    given = list(loggers)
    scalars = sensitivity_scalars(result, tolerance)
    with preserved_random_state():
        for logger in given:
            _log_scalars(logger, scalars, step)
    log_table(given, f"{PREFIX}/table", result.columns(), result.rows(), step)
    takers = [logger for logger in given if takes_pictures(logger)]
    if takers:
        try:
            _log_pictures(takers, result, step)
        except Exception as error:
            _log.error("the charts of sensitivity were not drawn, the training goes on: %s", error)


def _log_scalars(logger: Any, scalars: Mapping[str, float], step: int) -> None:
    try:
        logger.log_metrics(dict(scalars), step=step)
    except Exception as error:
        _log.error("%s did not take the sensitivity of layers: %r", type(logger).__name__, error)


def _log_pictures(loggers: list[Any], result: LayerSensitivities, step: int) -> None:
    from lightning_compress import charts

    with preserved_random_state():
        labels = [strength.label for strength in result.strengths]
        unit = f"drop of {result.measure}" if result.higher_is_better else f"rise of {result.measure}"
        picture = charts.heat_map(result.groups, labels, result.drops, "One class compressed alone", unit)
        log_figure(loggers, f"{PREFIX}/heat_map", picture, step)
        ranked = result.ranked()
        names, values = [name for name, _ in ranked], [value for _, value in ranked]
        picture = charts.ranked_bars(names, values, None, "Most sensitive first", f"mean {unit}")
        log_figure(loggers, f"{PREFIX}/ranking", picture, step)


def _key(name: str) -> str:
    return re.sub(r"[^\w.\-/]+", "_", name).strip("_")
