"""What is known of each part of a model at each strength, and what follows from it."""

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
_TOLERANCE = 0.01  # of the baseline: a drop that counts as keeping the score, where none is given


@dataclass(frozen=True, eq=False)
class LayerSensitivities:
    """Scores of a model of which one part at a time is compressed; tables are ``[groups, strengths]``.

    Attributes:
        measure: what the scores are, ``val_bleu`` for one.
        higher_is_better: whether more of it is better.
        baseline: the score of the exact weights.
        strengths: the columns.
        groups: the rows: classes, tensors, or whatever the parts are.
        raw_bytes: of each group, uncompressed.
        scores: with one group compressed; NaN where it was not measured, infinite where the model is broken.
        bytes: of the group's coded streams.
        estimates: name → what is known without measuring: ``normalized error``, ‖w − ŵ‖² / ‖w‖² of the group, and with
            calibration data ``Fisher error``, Σ F (w − ŵ)².
        step: of the training, where there is one.
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
        """How much worse than the baseline each score is; positive is worse, whichever way the measure points."""
        return (self.baseline - self.scores) * (1 if self.higher_is_better else -1)

    @property
    def rank_correlation(self) -> dict[str, float]:
        """Spearman's rank correlation of each estimate with the measured drop, over all points; NaN where unknown."""
        return {name: rank_correlation(values, self.drops) for name, values in self.estimates.items()}

    def ranked(self) -> tuple[tuple[str, float], ...]:
        """The groups with their mean drop over the strengths, the most sensitive first.

        What was not measured is left out.
        """
        known = [(group, row[~np.isnan(row)]) for group, row in zip(self.groups, self.drops, strict=True)]
        means = [(group, float(row.mean())) for group, row in known if row.size]
        return tuple(sorted(means, key=lambda mean: -mean[1]))

    def largest_ratio(self, tolerance: float | None = None) -> dict[str, float]:
        """The largest share of each group that can be pruned alone, as in the reference paper's figure 5.

        It is one of the shares that were measured, not the exact border: the largest at which, and at all smaller ones,
        the drop is at most ``tolerance``; 0 where there is none.

        Args:
            tolerance: in units of the measure; a hundredth of the baseline by default.

        Returns:
            group → share, 0 to 1; empty where no strength is pruning alone.
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
        """The drop that counts as keeping the score."""
        return _TOLERANCE * abs(self.baseline) if tolerance is None else tolerance

    def columns(self) -> list[str]:
        """Names of the cells of :meth:`rows`."""
        return ["class", "strength", self.measure, "drop", "bytes", "raw bytes", *self.estimates]

    def rows(self) -> list[list[str | float | int | None]]:
        """One row for each group at each strength; None where nothing was measured."""
        return [
            [
                group,
                strength.label,
                _plain(self.scores[row, column]),
                _plain(self.drops[row, column]),
                _whole(self.bytes[row, column]),
                self.raw_bytes[row],
                *(_plain(values[row, column]) for values in self.estimates.values()),
            ]
            for row, group in enumerate(self.groups)
            for column, strength in enumerate(self.strengths)
        ]

    def to_json(self, tolerance: float | None = None) -> str:
        """A JSON document; :meth:`from_json` reads it. What is not finite is ``null`` in it.

        Args:
            tolerance: as for :meth:`largest_ratio`, which is in it where pruning was measured.
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
            "bytes": [[_whole(value) for value in row] for row in self.bytes],
            "estimates": {name: _nested(values) for name, values in self.estimates.items()},
            "rank_correlation": {name: _plain(value) for name, value in self.rank_correlation.items()},
            "tolerance": self.allowed(tolerance),
        }
        ratios = self.largest_ratio(tolerance)
        return json.dumps(document | ({"largest_ratio": ratios} if ratios else {}), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> LayerSensitivities:
        """What :meth:`to_json` wrote.

        Raises:
            SearchError: it is something else.
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


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _nested(matrix: Matrix) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in matrix]


def _matrix(rows: Sequence[Sequence[float | None]], shape: tuple[int, int]) -> Matrix:
    values = [[math.nan if value is None else float(value) for value in row] for row in rows]
    return np.array(values, np.float64).reshape(shape)
