"""``layer_sensitivities``: every part of a model at every strength, one part at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.runtime.progress import progress_bar
from lightning_compress.search.evaluate.evaluation import Evaluate, check_arguments
from lightning_compress.search.evaluate.swapper import Swapper, swapping
from lightning_compress.search.sensitivity.calibration import Calibration, check_calibration
from lightning_compress.search.sensitivity.layers.groups import GroupBy, check_groups, grouped
from lightning_compress.search.sensitivity.layers.point import Point, compressed, fisher_error, normalized_error
from lightning_compress.search.sensitivity.layers.squared_gradients import squared_gradients
from lightning_compress.search.sensitivity.layers.strengths import STRENGTHS, Strength, StrengthLike, strengths_of
from lightning_compress.search.sensitivity.layers.table import FISHER_ERROR, NORMALIZED_ERROR, LayerSensitivities
from lightning_compress.weights import Weight, Weights

_log = logging.getLogger(__name__)


def layer_sensitivities(
    module: nn.Module,
    evaluate: Evaluate,
    strengths: Iterable[StrengthLike] = STRENGTHS,
    *,
    groups: GroupBy = "class",
    measure: str = "score",
    higher_is_better: bool = True,
    calibration: Calibration | None = None,
    gradient_batches: int = 8,
    progress: bool = True,
    weights: Weights | None = None,
    exclude: Sequence[str] = (),
    classes: Mapping[str, str | Sequence[str]] | None = None,
) -> LayerSensitivities:
    """Compress each part of a model alone, restore it, and score the model, all other weights being exact.

    The module is afterwards bit for bit what it was. One evaluation of the exact weights is made, and one for each
    point, unless its weights were scored already; a part is compressed once for each of its points, and nothing else
    is. A point whose evaluation fails is told in the log and left out, and so are gradients that cannot be had.

    Args:
        module: a module with the exact weights loaded.
        evaluate: module → a number or :class:`~lightning_compress.Score`. It is called in ``eval()`` mode, without
            gradients, each time from the same random state.
        strengths: what is done to a part: shares that are pruned (0 to 1), methods such as ``Interval(4)``, or
            :class:`Strength`.
        groups: ``"class"``, ``"tensor"``, group → pattern or patterns of tensor names, or a function from a
            :class:`Weight` to the name of its group (None for none).
        measure: what ``evaluate`` measures, for tables and charts.
        higher_is_better: whether more of it is better; False for a loss.
        calibration: batches and their loss, for the Fisher-weighted error; without there is none.
        gradient_batches: how many batches of ``calibration`` are taken for it.
        progress: whether to show a bar, where the error stream is a terminal.
        weights: the exact weights where they are not those of the module, as with averaged ones.
        exclude: patterns of tensors to leave out; not with ``weights``.
        classes: class name → patterns, over the derived classes; not with ``weights``.

    Raises:
        SearchError: the exact weights have no finite score, no point could be measured, a pattern matches nothing, or
            an argument is wrong. The module is as it was.
        PlanError: a strength out of range.
        WeightsError: the module's weights cannot be taken.
    """
    check_arguments(module, evaluate, [("gradient_batches", gradient_batches)])
    check_groups(groups)
    wanted = strengths_of(strengths)
    source = weights if weights is not None else Weights.from_module(module, exclude=exclude, classes=classes)
    with swapping(module, evaluate, source) as swapper:
        parts = grouped(swapper.weights, groups)
        gradients = None if calibration is None else _gradients(swapper, calibration, gradient_batches)
        sweep = _Sweep(swapper, parts, wanted, gradients)
        return sweep.run(measure, higher_is_better, progress)


def _gradients(swapper: Swapper, calibration: Calibration, batches: int) -> dict[str, Tensor] | None:
    """The squared gradients; None, and a word in the log, where they cannot be had: the rest does not need them."""
    try:
        with swapper.exact():
            check_calibration(calibration, swapper.module)
            return squared_gradients(swapper.weights, swapper.module, calibration, batches)
    except SearchError as error:
        _log.warning("the Fisher-weighted error is left out: %s", error)
        return None


class _Sweep:
    """The points of :func:`layer_sensitivities`, with what they have in common."""

    def __init__(
        self,
        swapper: Swapper,
        parts: Mapping[str, Sequence[Weight]],
        strengths: Sequence[Strength],
        gradients: Mapping[str, Tensor] | None,
    ) -> None:
        self.swapper, self.parts, self.strengths, self.gradients = swapper, parts, strengths, gradients
        shape = (len(parts), len(strengths))
        self.scores, self.bytes = np.full(shape, math.nan), np.full(shape, math.nan)
        names = [NORMALIZED_ERROR] + ([] if gradients is None else [FISHER_ERROR])
        self.estimates = {name: np.full(shape, math.nan) for name in names}
        self.failures: list[SearchError] = []

    def run(self, measure: str, higher_is_better: bool, progress: bool) -> LayerSensitivities:
        baseline = self.swapper.score({}, "the exact weights").value
        if not math.isfinite(baseline):
            raise SearchError(
                f"evaluate gave {baseline} for the exact weights, expected a finite number: check it with "
                "evaluate(module) on its own"
            )
        points = [(row, column) for row in range(len(self.parts)) for column in range(len(self.strengths))]
        with progress_bar(progress, 1 + len(points), "measuring") as tell:
            for done, (row, column) in enumerate(points, 1):
                tell(done, f"{list(self.parts)[row]}, {self.strengths[column].label}")
                self._measure(row, column)
        if self.failures and self.swapper.count == 1 + len(self.failures):
            raise self.failures[0]
        sizes = [sum(w.tensor.numel() * w.tensor.element_size() for w in part) for part in self.parts.values()]
        return LayerSensitivities(
            measure=measure,
            higher_is_better=higher_is_better,
            baseline=baseline,
            strengths=tuple(self.strengths),
            groups=tuple(self.parts),
            raw_bytes=tuple(sizes),
            scores=self.scores,
            bytes=self.bytes,
            estimates=self.estimates,
        )

    def _measure(self, row: int, column: int) -> None:
        group, part = list(self.parts.items())[row]
        strength = self.strengths[column]
        point = compressed(part, strength)
        self._estimate(row, column, part, point)
        try:
            self.scores[row, column] = self.swapper.score(point.tensors, f"{group} with {strength.label}").value
        except SearchError as error:
            self.failures.append(error)
            _log.warning("the point is left out: %s", error)

    def _estimate(self, row: int, column: int, part: Sequence[Weight], point: Point) -> None:
        self.bytes[row, column] = point.nbytes
        self.estimates[NORMALIZED_ERROR][row, column] = normalized_error(part, point.tensors)
        if self.gradients is not None:
            self.estimates[FISHER_ERROR][row, column] = fisher_error(part, point.tensors, self.gradients)
