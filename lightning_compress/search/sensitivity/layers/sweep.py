"""Sweep over groups of weights and strengths: each group is compressed alone at each strength, and scored."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.messages.progress import progress_bar
from lightning_compress.search.arguments import check_batches, check_flag, check_name, check_weights
from lightning_compress.search.evaluate.evaluation import Evaluate, check_arguments
from lightning_compress.search.evaluate.swapper import Swapper, swapping
from lightning_compress.search.sensitivity.calibration import Calibration, check_calibration, check_has_loss
from lightning_compress.search.sensitivity.layers.compressed_group import (
    CompressedGroup,
    compress_group,
    fisher_error,
    normalized_error,
)
from lightning_compress.search.sensitivity.layers.groups import GroupBy, check_groups, grouped
from lightning_compress.search.sensitivity.layers.sensitivity_table import (
    FISHER_ERROR,
    NORMALIZED_ERROR,
    LayerSensitivities,
)
from lightning_compress.search.sensitivity.layers.squared_gradients import squared_gradients
from lightning_compress.search.sensitivity.layers.strengths import STRENGTHS, Strength, StrengthLike, strengths_of
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
    """Compress each group of weights alone at each strength, and score the model with all other weights exact.

    The module is restored bit for bit. The exact weights are evaluated once, and each pair of group and strength once,
    unless equal weights were evaluated before. A pair whose evaluation fails is logged and left out, and so is the
    Fisher error if gradients cannot be computed.

    Args:
        module: a module with the exact weights loaded.
        evaluate: module → a number or :class:`~lightning_compress.Score`. It is called in ``eval()`` mode, without
            gradients, each time from the same random state.
        strengths: how a group is compressed: pruned shares (0 to 1), methods such as ``Interval(4)``, or
            :class:`Strength`.
        groups: ``"class"``, ``"tensor"``, name of a group → pattern or patterns of tensor names, or a function from a
            :class:`Weight` to the name of its group, or None.
        measure: name of what ``evaluate`` measures, for tables and charts.
        higher_is_better: False for a loss.
        calibration: batches and their loss, for the Fisher error; None omits it.
        gradient_batches: number of batches of ``calibration`` used for it.
        progress: whether to show a progress bar if the error stream is a terminal.
        weights: the exact weights, if they differ from those of the module, as averaged weights do.
        exclude: patterns of tensors to leave out; not with ``weights``.
        classes: class name → patterns, which override the derived classes; not with ``weights``.

    Raises:
        SearchError: the exact weights have no finite score, no pair could be measured, a pattern matches nothing, or
            an argument is invalid. The module is restored.
        PlanError: a strength is out of range.
        WeightsError: the module's weights cannot be stored.
    """
    check_arguments(module, evaluate)
    check_batches("gradient_batches", gradient_batches)
    check_groups(groups)
    check_name("measure", measure)
    check_flag("higher_is_better", higher_is_better)
    check_flag("progress", progress)
    check_weights(weights, exclude, classes)
    check_has_loss(calibration)
    resolved = strengths_of(strengths)
    source = weights if weights is not None else Weights.from_module(module, exclude=exclude, classes=classes)
    with swapping(module, evaluate, source) as swapper:
        gradients = None if calibration is None else _gradients(swapper, calibration, gradient_batches)
        sweep = _Sweep(swapper, grouped(swapper.weights, groups), resolved, gradients)
        return sweep.run(measure, higher_is_better, progress)


def _gradients(swapper: Swapper, calibration: Calibration, batches: int) -> dict[str, Tensor] | None:
    """The squared gradients; None, with a warning, if they cannot be computed: only the Fisher error needs them."""
    try:
        with swapper.exact_weights():
            check_calibration(calibration, swapper.module)
            return squared_gradients(swapper.weights, swapper.module, calibration, batches)
    except SearchError as error:
        _log.warning("the Fisher-weighted error is left out: %s", error)
        return None


class _Sweep:
    """Measures all pairs of a group and a strength, and collects the results in tables ``[groups, strengths]``."""

    def __init__(
        self,
        swapper: Swapper,
        groups: Mapping[str, Sequence[Weight]],
        strengths: Sequence[Strength],
        gradients: Mapping[str, Tensor] | None,
    ) -> None:
        self.swapper, self.groups, self.strengths, self.gradients = swapper, groups, strengths, gradients
        shape = (len(groups), len(strengths))
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
        pairs = [(row, column) for row in range(len(self.groups)) for column in range(len(self.strengths))]
        with progress_bar(progress, 1 + len(pairs), "measuring") as update:
            for done, (row, column) in enumerate(pairs, 1):
                update(done, f"{list(self.groups)[row]}, {self.strengths[column].label}")
                self._measure(row, column)
        if self.failures and self.swapper.count == 1 + len(self.failures):
            raise self.failures[0]
        sizes = [sum(w.tensor.numel() * w.tensor.element_size() for w in group) for group in self.groups.values()]
        return LayerSensitivities(
            measure=measure,
            higher_is_better=higher_is_better,
            baseline=baseline,
            strengths=tuple(self.strengths),
            groups=tuple(self.groups),
            raw_bytes=tuple(sizes),
            scores=self.scores,
            bytes=self.bytes,
            estimates=self.estimates,
        )

    def _measure(self, row: int, column: int) -> None:
        name, weights = list(self.groups.items())[row]
        strength = self.strengths[column]
        compressed = compress_group(weights, strength)
        self._estimate(row, column, weights, compressed)
        try:
            self.scores[row, column] = self.swapper.score(compressed.tensors, f"{name} with {strength.label}").value
        except SearchError as error:
            self.failures.append(error)
            _log.warning("this measurement is left out: %s", error)

    def _estimate(self, row: int, column: int, weights: Sequence[Weight], compressed: CompressedGroup) -> None:
        self.bytes[row, column] = compressed.nbytes
        self.estimates[NORMALIZED_ERROR][row, column] = normalized_error(weights, compressed.tensors)
        if self.gradients is not None:
            self.estimates[FISHER_ERROR][row, column] = fisher_error(weights, compressed.tensors, self.gradients)
