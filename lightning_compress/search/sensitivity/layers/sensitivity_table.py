"""The results of a sensitivity sweep as tables ``[groups, strengths]``: scores, bytes, estimates, rankings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_compress.errors import SearchError
from lightning_compress.search.sensitivity.layers.correlation import rank_correlation
from lightning_compress.search.sensitivity.layers.strengths import Strength

Matrix = NDArray[np.float64]
NORMALIZED_ERROR = "normalized error"
FISHER_ERROR = "Fisher error"
_TOLERANCE = 0.01  # default, relative to the baseline


@dataclass(frozen=True, eq=False)
class LayerSensitivities:
    """Scores of a model in which one group of weights is compressed; tables are ``[groups, strengths]``.

    Attributes:
        measure: name of the score, such as ``val_bleu``.
        higher_is_better: False for a loss.
        baseline: the score of the exact weights.
        strengths: the columns.
        groups: the rows: classes, tensors, or other groups.
        raw_bytes: uncompressed bytes of each group.
        scores: with one group compressed; NaN if not measured, infinite for a broken model.
        bytes: bytes of the group's coded streams.
        estimates: name → values that need no evaluation: ``normalized error``, ‖w − ŵ‖² / ‖w‖² of the group, and
            with calibration data ``Fisher error``, Σ F (w − ŵ)².
        step: global step of the training, if there is one.
    """

    measure: str
    higher_is_better: bool
    baseline: float
    strengths: tuple[Strength, ...]
    groups: tuple[str, ...]
    raw_bytes: tuple[int, ...]
    scores: Matrix
    bytes: Matrix
    estimates: Mapping[str, Matrix]
    step: int | None = None

    @property
    def drops(self) -> Matrix:
        """How much worse than the baseline each score is; positive is worse, for scores and for losses."""
        return (self.baseline - self.scores) * (1 if self.higher_is_better else -1)

    @property
    def rank_correlation(self) -> dict[str, float]:
        """Spearman's rank correlation of each estimate with the measured drop, over all pairs; NaN if undefined."""
        return {name: rank_correlation(values, self.drops) for name, values in self.estimates.items()}

    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Each group and its mean drop over the measured strengths, the most sensitive first."""
        known = [(group, row[~np.isnan(row)]) for group, row in zip(self.groups, self.drops, strict=True)]
        means = [(group, float(row.mean())) for group, row in known if row.size]
        return tuple(sorted(means, key=lambda mean: -mean[1]))

    def largest_ratio(self, tolerance: float | None = None) -> dict[str, float]:
        """The largest share of each group that can be pruned alone, as in figure 5 of the reference paper.

        It is the largest measured share at which, and at all smaller measured ones, the drop is at most ``tolerance``;
        0 if there is none. The true limit lies between it and the next measured share.

        Args:
            tolerance: in units of the measure; 1 % of the baseline by default.

        Returns:
            Group → share, 0 to 1; empty if no strength is pruning alone.
        """
        allowed = self.allowed(tolerance)
        columns = [(s.ratio, k) for k, s in enumerate(self.strengths) if s.ratio is not None]
        result: dict[str, float] = {}
        for group, row in zip(self.groups, self.drops, strict=True):
            for ratio, column in sorted(columns):
                result.setdefault(group, 0.0)
                if not row[column] <= allowed:
                    break
                result[group] = ratio
        return result

    def allowed(self, tolerance: float | None = None) -> float:
        """The largest drop that counts as keeping the score; arguments as for :meth:`largest_ratio`."""
        return _TOLERANCE * abs(self.baseline) if tolerance is None else tolerance

    def columns(self) -> list[str]:
        """Column names of :meth:`rows`; ``score`` stands before the measure if its name is that of another column."""
        others = ("class", "strength", "drop", "bytes", "raw bytes", *self.estimates)
        measure = f"score {self.measure}" if self.measure in others else self.measure
        return [*others[:2], measure, *others[2:]]

    def rows(self) -> list[list[str | float | int | None]]:
        """One row for each group and strength; None where nothing was measured."""
        return [
            [
                group,
                strength.label,
                _finite_or_none(self.scores[row, column]),
                _finite_or_none(self.drops[row, column]),
                _int_or_none(self.bytes[row, column]),
                self.raw_bytes[row],
                *(_finite_or_none(values[row, column]) for values in self.estimates.values()),
            ]
            for row, group in enumerate(self.groups)
            for column, strength in enumerate(self.strengths)
        ]

    def to_json(self, tolerance: float | None = None) -> str:
        """A JSON document that :meth:`from_json` reads; values that are not finite are ``null``.

        Args:
            tolerance: as for :meth:`largest_ratio`, whose result is included if pruning was measured.
        """
        document = {
            "measure": self.measure,
            "higher_is_better": self.higher_is_better,
            "baseline": self.baseline,
            "step": self.step,
            "strengths": [strength.to_config() for strength in self.strengths],
            "classes": list(self.groups),
            "raw_bytes": list(self.raw_bytes),
            "scores": _nested(self.scores),
            "bytes": [[_int_or_none(value) for value in row] for row in self.bytes],
            "estimates": {name: _nested(values) for name, values in self.estimates.items()},
            "rank_correlation": {name: _finite_or_none(value) for name, value in self.rank_correlation.items()},
            "tolerance": self.allowed(tolerance),
        }
        ratios = self.largest_ratio(tolerance)
        return json.dumps(document | ({"largest_ratio": ratios} if ratios else {}), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> LayerSensitivities:
        """The results in a document of :meth:`to_json`.

        Raises:
            SearchError: the text is not such a document.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            shape = (len(document["classes"]), len(document["strengths"]))
            return cls(
                measure=str(document["measure"]),
                higher_is_better=bool(document["higher_is_better"]),
                baseline=float(document["baseline"]),
                strengths=tuple(map(Strength.from_config, document["strengths"])),
                groups=tuple(map(str, document["classes"])),
                raw_bytes=tuple(map(int, document["raw_bytes"])),
                scores=_matrix(document["scores"], shape),
                bytes=_matrix(document["bytes"], shape),
                estimates={str(name): _matrix(rows, shape) for name, rows in document["estimates"].items()},
                step=document["step"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SearchError(
                f"this is no sensitivity.json of lightning-compress ({type(error).__name__}: {error}): measure anew"
            ) from error


def _finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _int_or_none(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _nested(matrix: Matrix) -> list[list[float | None]]:
    return [[_finite_or_none(value) for value in row] for row in matrix]


def _matrix(rows: Sequence[Sequence[float | None]], shape: tuple[int, int]) -> Matrix:
    values = [[math.nan if value is None else float(value) for value in row] for row in rows]
    return np.array(values, np.float64).reshape(shape)
