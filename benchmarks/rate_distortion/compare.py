"""Ours against NNCodec at every ratio.

    python -m benchmarks.rate_distortion.compare points.csv [--method NAME …] [--split val]

For each whole ratio from 8 to 24: BLEU of ours, of NNCodec, and what is required of ours, the smaller of NNCodec's plus
0.5 and the baseline's less 0.1. Between measured points both are read off the straight line between neighbours on the
frontier. Where a curve of ours begins at a higher ratio, its first point counts: that file is smaller still. Where
NNCodec's begins at a higher ratio, the baseline's less 0.1 is required; where it ends, its last point stands for it,
which can only favour it.
Exit status 1 where a requirement is not met.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.rate_distortion.points import Point, frontier_of, read_points

BASELINE, PEER = "fp32", "nncodec"
OTHERS = frozenset({BASELINE, PEER, "bfloat16 + zstd", "int8", "int4"})
RATIOS = tuple(range(8, 25))
LEAD, LOSS = 0.5, 0.1


@dataclass(frozen=True)
class Row:
    """BLEU at one ratio; None where a curve has no value there."""

    ratio: float
    ours: float | None
    peer: float | None
    required: float

    @property
    def met(self) -> bool:
        """Whether ours has what is required."""
        return self.ours is not None and self.ours >= self.required


def compare(points: Iterable[Point], methods: Iterable[str] = (), ratios: Sequence[float] = RATIOS) -> list[Row]:
    """A row for each ratio.

    Args:
        points: of one model on one text.
        methods: names of ours; all that are not others' where there are none.
        ratios: at which to compare.

    Raises:
        ValueError: no point of the baseline, of NNCodec or of ours is among the points.
    """
    points, wanted = list(points), frozenset(methods)
    baseline = [point for point in points if point.method == BASELINE]
    peer = frontier_of(point for point in points if point.method == PEER)
    ours = frontier_of(p for p in points if (p.method in wanted if wanted else p.method not in OTHERS))
    if not (baseline and peer and ours):
        raise ValueError(
            f"expected points of {BASELINE}, of {PEER} and of ours, received those of "
            f"{sorted({point.method for point in points})}: measure what is missing"
        )
    rows = []
    for ratio in ratios:
        own = ours[0].bleu if ratio < ours[0].ratio else at_ratio(ours, ratio)
        theirs = at_ratio(peer, ratio)
        bound = peer[-1].bleu if ratio > peer[-1].ratio else theirs
        most = baseline[0].bleu - LOSS
        rows.append(Row(ratio, own, theirs, most if bound is None else min(bound + LEAD, most)))
    return rows


def at_ratio(frontier: Sequence[Point], ratio: float) -> float | None:
    """BLEU of a frontier at a ratio, on the straight line between its neighbours; None outside the frontier."""
    if frontier and ratio == frontier[0].ratio:
        return frontier[0].bleu
    for left, right in pairwise(frontier):
        if left.ratio < ratio <= right.ratio:
            fraction = (ratio - left.ratio) / (right.ratio - left.ratio)
            return left.bleu + fraction * (right.bleu - left.bleu)
    return None


def table(rows: Iterable[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| ratio | ours | nncodec | required | met |", "|---|---|---|---|---|"]
    for row in rows:
        own, peer = ("–" if value is None else f"{value:.2f}" for value in (row.ours, row.peer))
        lines.append(f"| {row.ratio:g}× | {own} | {peer} | {row.required:.2f} | {'yes' if row.met else 'no'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--method", action="append", default=[], help="ours, by name; default all")
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    points = [point for point in read_points(options.csv) if point.split == options.split]
    met = True
    for model in dict.fromkeys(point.model for point in points):
        rows = compare((point for point in points if point.model == model), options.method)
        print(f"{model}\n\n{table(rows)}\n")
        met &= all(row.met for row in rows)
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
