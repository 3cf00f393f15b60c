"""Fisher information of the stored tensors, estimated from second moments of gradients over calibration batches.

A change δ of the weights changes the outputs by a Kullback–Leibler divergence of δ F δᵀ / 2, where F is the Fisher
information. If the calibration data provide the module's outputs, gradients are drawn whose second moment is F
(:mod:`fisher_probes`); otherwise the gradients of the loss are used, whose second moment is close to F near a minimum.
Quantization needs three statistics of F per matrix: its trace for each row, the block of the columns summed over the
rows, and the block of the rows summed over the columns (the Kronecker factors of F). Gradients are all it takes, so
every kind of parameter is covered: linear maps, attention, recurrent cells, embeddings.

Sources: LeCun et al. 1990, "Optimal brain damage"; Martens 2020, "New insights and perspectives on the natural gradient
method" (Fisher information as curvature); Kim et al. 2025, "GuidedQuant" (gradients in the curvature of layers); Tseng
et al. 2025, "Model-preserving adaptive rounding" (both factors).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.quantize import matrix_shape
from lightning_compress.search.sensitivity.calibration import (
    Batches,
    Calibration,
    CalibrationData,
    Distillation,
    batches_of,
)
from lightning_compress.search.sensitivity.fisher_probes import fisher_probe
from lightning_compress.weights import Weights
from lightning_compress.weights.bindings import bindings_of, parameters_of, summed_gradient

_log = logging.getLogger(__name__)

_MIN_PROBES = 32  # the batches are repeated until there are as many
_MAX_COLUMNS = 4096  # of a column curvature: beyond, it would be larger than the matrix, and there is none
_MAX_ROWS = 2048  # of a row curvature, likewise


@dataclass(eq=False)
class FisherStatistics:
    """Second moments of the gradients of one parameter as a matrix ``[rows, columns]``, summed over batches.

    The batches alternate between two folds, for cross-validation.

    Attributes:
        row_squares: ``[2, rows]``: squared gradients of each fold, summed over each row.
        column_curvature: ``[columns, columns]``: products of the gradients of two columns, summed over the rows; None
            for one column, or too many.
        row_curvature: ``[2, rows, rows]``: products of the gradients of two rows for each fold, summed over the
            columns; None for one row or column, or too many.
    """

    row_squares: Tensor
    column_curvature: Tensor | None
    row_curvature: Tensor | None = None

    @property
    def row_totals(self) -> Tensor:
        """``[rows]``: squared gradients, summed over each row and all batches."""
        return self.row_squares.sum(0)

    @classmethod
    def zeros(cls, rows: int, columns: int) -> FisherStatistics:
        """Statistics before the first batch."""
        column_curvature = torch.zeros(columns, columns) if 1 < columns <= _MAX_COLUMNS else None
        has_row_curvature = column_curvature is not None and 1 < rows <= _MAX_ROWS
        row_curvature = torch.zeros(2, rows, rows) if has_row_curvature else None
        return cls(torch.zeros(2, rows), column_curvature, row_curvature)

    def add(self, gradient: Tensor, batch: int) -> None:
        """Add the gradient ``[rows, columns]`` of the batch with this index."""
        squares = gradient.square().sum(1)
        self.row_squares[batch % 2] += squares
        if self.column_curvature is not None:
            nonzero = gradient[squares > 0]
            self.column_curvature.addmm_(nonzero.T, nonzero)
        if self.row_curvature is not None:
            self.row_curvature[batch % 2].addmm_(gradient, gradient.T)


def estimate_fisher(weights: Weights, module: nn.Module, calibration: CalibrationData) -> dict[str, FisherStatistics]:
    """Fisher statistics at the module's present weights, from its outputs if the calibration provides them.

    The caller puts the module in evaluation mode, and restores ``requires_grad`` of its parameters afterwards.

    Args:
        weights: the stored tensors; gradients of tied tensors are added to the tensor they are views of.
        module: the module that holds them.
        calibration: batches with their loss, or the module's outputs, or both; outputs are used first.

    Returns:
        Name of a stored floating-point tensor → its statistics, in main memory. Tensors whose gradients are all zero
        or missing are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite; or the outputs depend on no weight, and
            there is no loss.
    """
    if isinstance(calibration, Distillation):
        generator = torch.Generator().manual_seed(0)

        def outputs(module: nn.Module, batch: object) -> Tensor:
            return fisher_probe(calibration.outputs(module, batch), generator)

        statistics = _accumulate(weights, module, calibration, outputs, _MIN_PROBES)
        if statistics:
            return statistics
        if not isinstance(calibration, Calibration):
            raise SearchError(
                "calibration.outputs depends on no weight, or has one class only, of which the softmax says nothing: "
                "give loss(module, batch) too. The module is as it was."
            )
        _log.warning("calibration.outputs depends on no weight, or has one class only: the loss is used instead")
    return _accumulate(weights, module, calibration, calibration.loss, 1)


def _accumulate(
    weights: Weights,
    module: nn.Module,
    calibration: Batches,
    scalar: Callable[[nn.Module, Any], Tensor],
    min_batches: int,
) -> dict[str, FisherStatistics]:
    """Statistics over all batches, which are repeated until there were at least ``min_batches``."""
    statistics: dict[str, FisherStatistics] = {}
    processed = 0
    while processed < min_batches:
        last = 0
        for last, name, gradient in stored_gradients(weights, module, batches_of(calibration), scalar):
            matrix = gradient.reshape(matrix_shape(gradient.shape))
            if name not in statistics:
                statistics[name] = FisherStatistics.zeros(*matrix.shape)
            statistics[name].add(matrix, last)
        if not statistics:
            break
        processed += last + 1
    return {name: each for name, each in statistics.items() if bool(each.row_totals.any())}


def stored_gradients(
    weights: Weights, module: nn.Module, batches: Iterable[Any], loss: Callable[[nn.Module, Any], Tensor]
) -> Iterator[tuple[int, str, Tensor]]:
    """The gradients of the stored tensors for each batch, at the module's present weights.

    The caller treats the module as for :func:`estimate_fisher`.

    Args:
        weights: as for :func:`estimate_fisher`.
        module: likewise.
        batches: arguments of ``loss``.
        loss: module and batch → a scalar.

    Yields:
        Index of the batch, name of a stored floating-point tensor, and its gradient for that batch, in main memory.
        Tensors on which the loss of the batch does not depend are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite.
    """
    bindings = bindings_of(weights, module)
    shapes = {weight.name: tuple(weight.tensor.shape) for weight in weights}
    for parameter in parameters_of(bindings):
        parameter.requires_grad_(True)
    for index, batch in enumerate(batches):
        gradients = _gradients(module, loss, batch, index, parameters_of(bindings))
        for name, group in bindings.items():
            summed = summed_gradient(group, gradients, shapes[name])
            if summed is None:
                continue
            gradient = summed.detach().float().cpu()
            if not bool(gradient.square().sum().isfinite()):
                raise SearchError(
                    f"calibration batch {index} gives {name!r} a gradient that is not finite, or too large: leave the "
                    "batch out, or check it. The module is as it was."
                )
            yield index, name, gradient


def _gradients(
    module: nn.Module,
    loss_of: Callable[[nn.Module, Any], Tensor],
    batch: object,
    index: int,
    parameters: Sequence[nn.Parameter],
) -> dict[int, Tensor | None]:
    """``id`` of a parameter → its gradient for one batch; None if the loss does not depend on the parameter."""
    try:
        # cuDNN computes no gradients of recurrent layers in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            loss = loss_of(module, batch)
            gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    except Exception as error:
        raise SearchError(
            f"calibration.{getattr(loss_of, '__name__', 'loss')} failed on batch {index} with {type(error).__name__}: "
            f"{error}. Give batches that fit the module, on its device. The module is as it was."
        ) from error
    return {id(parameter): gradient for parameter, gradient in zip(parameters, gradients, strict=True)}
