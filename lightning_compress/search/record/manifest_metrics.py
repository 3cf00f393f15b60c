"""The metrics that a search writes into its file, under the key ``search``, and the bytes that they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_compress.archive import Archive, Manifest
from lightning_compress.search.evaluate.bootstrap import Drop
from lightning_compress.search.evaluate.score import Score

KEY = "search"
_DECIMALS = 6


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """The finite values, to six decimals; JSON has no infinite numbers."""
    return {name: round(value, _DECIMALS) for name, value in values.items() if math.isfinite(value)}


def search_metrics(before: Score, after: Score, drop: Drop, noise: float, evaluations: int) -> dict[str, Any]:
    """Scores, drop and evaluations of a search, by the keys that docs/search.md lists; nothing that a clock says."""
    numbers = {"score_before": before.value, "score_after": after.value, "drop": drop.value, "noise": noise}
    metrics: dict[str, Any] = {**rounded(numbers), "evaluations": evaluations}
    if after.statistics is not None:
        metrics["interval"] = [*rounded({"low": drop.low, "high": drop.high}).values()]
    return metrics


def promise_metrics(
    expected: float, interval: tuple[float, float], assured: float, items: int | None
) -> dict[str, Any]:
    """What a file is expected to lose on other text like the items.

    Args:
        expected: mean of the posterior.
        interval: of 95 %.
        assured: probability that the allowed drop is kept.
        items: number of items that the score has statistics of; None without statistics.
    """
    numbers = rounded({"expected_drop": expected, "assured": assured})
    metrics: dict[str, Any] = {**numbers, "expected_interval": [round(bound, _DECIMALS) for bound in interval]}
    return metrics if items is None else {**metrics, "items": items}


def with_search_metrics(archive: Archive, metrics: Mapping[str, Any], max_bytes: int | None = None) -> Archive:
    """The archive with the metrics of its search; the largest frontier points are left out where they do not fit."""
    points = list(metrics["frontier"])
    while True:
        complete = archive.with_metrics({KEY: {**metrics, "frontier": points}})
        if max_bytes is None or complete.nbytes <= max_bytes or not points:
            return complete
        points.pop()


def reserved_bytes(score: float, points: int) -> int:
    """Bytes to reserve for the metrics: the size of long numbers that do not repeat, so that real ones fit.

    Args:
        score: one of usual size for the metric.
        points: of the frontier.
    """
    largest = 10 * abs(score) + 10
    numbers = [round(-largest * (0.5 + 0.5 * math.sin(k)), _DECIMALS) for k in range(3 * points + 12)]
    frontier = [[numbers[3 * k], 10**9 + 7919 * k * k, numbers[3 * k + 1]] for k in range(points)]
    names = ("score_before", "score_after", "drop", "noise", "evaluations", "factor", "expected_score")
    metrics = dict(zip(names, reversed(numbers), strict=False))
    flags = {"fallback": "lossless", "observed": True, "retargeted": {}}
    empty = Archive(Manifest(()), {})
    full = empty.with_metrics({KEY: {**metrics, **flags, "interval": numbers[-2:], "frontier": frontier}})
    return full.nbytes - empty.nbytes
