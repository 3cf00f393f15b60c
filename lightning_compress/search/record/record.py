"""What a search writes into the metrics of its file, and the bytes that takes."""

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
    """The values with so many decimals as anyone reads; infinite ones, which JSON cannot hold, left out."""
    return {name: round(value, _DECIMALS) for name, value in values.items() if math.isfinite(value)}


def facts_of(before: Score, after: Score, drop: Drop, noise: float, evaluations: int, seconds: float) -> dict[str, Any]:
    """What was measured, by the names that docs/search.md gives."""
    numbers = {
        "score_before": before.value,
        "score_after": after.value,
        "drop": drop.value,
        "noise": noise,
        "seconds": seconds,
    }
    facts: dict[str, Any] = {**rounded(numbers), "evaluations": evaluations}
    if after.statistics is not None:
        facts["interval"] = [*rounded({"low": drop.low, "high": drop.high}).values()]
    return facts


def with_record(archive: Archive, record: Mapping[str, Any], max_bytes: int | None = None) -> Archive:
    """The archive with the record in its metrics; without the largest points of the frontier where it would not fit."""
    points = list(record["frontier"])
    while True:
        recorded = archive.with_metrics({KEY: {**record, "frontier": points}})
        if max_bytes is None or recorded.nbytes <= max_bytes or not points:
            return recorded
        points.pop()


def record_bytes(score: float, points: int) -> int:
    """Bytes that a record with so many points takes at most, or nearly: numbers that are long and do not repeat.

    Args:
        score: one of usual size for the metric.
        points: of the frontier.
    """
    largest = 10 * abs(score) + 10
    numbers = [round(-largest * (0.5 + 0.5 * math.sin(k)), _DECIMALS) for k in range(3 * points + 12)]
    frontier = [[numbers[3 * k], 10**9 + 7919 * k * k, numbers[3 * k + 1]] for k in range(points)]
    names = ("score_before", "score_after", "drop", "noise", "evaluations", "seconds", "factor", "expected_score")
    facts = dict(zip(names, reversed(numbers), strict=False))
    empty = Archive(Manifest(()), {})
    flags = {"fallback": "lossless", "recovered": True, "retargeted": {}}
    record = {**facts, **flags, "interval": numbers[-2:], "frontier": frontier}
    return empty.with_metrics({KEY: record}).nbytes - empty.nbytes
