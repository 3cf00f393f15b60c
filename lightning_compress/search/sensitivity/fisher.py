"""How answers react to each weight: second moments of gradients over calibration batches.

When the weights move by δ, answers move by half of δ F δᵀ, F being the Fisher information. Where calibration tells the
answers, its gradients are drawn to have F as their second moment (:mod:`probing`); else they
are those of the loss, which near a minimum have about that. Of F we keep what rounding needs: its trace, row by row,
and for each matrix the block that the columns of a row share, summed over the rows, and that which the rows of a column
share, summed over the columns (Kronecker factors of F). Gradients alone are needed, so any
parameter of any module is served alike: linear maps, attention, recurrent cells, embeddings.

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
from lightning_compress.search.sensitivity.calibration import Calibration, Distillation, batches_of
from lightning_compress.search.sensitivity.probing import probe
from lightning_compress.weights import Weights
from lightning_compress.weights.bindings import bindings_of, parameters_of, summed_gradient

_log = logging.getLogger(__name__)

_PROBES = 32  # at least: batches are gone through again where they are fewer
_WIDEST = 4096  # columns: the curvature of wider matrices would outweigh them; their columns are treated apart
_TALLEST = 2048  # rows, likewise


@dataclass(eq=False)
class Sensitivity:
    """Of one parameter, seen as the matrix ``[rows, columns]`` that a grid sees; sums over batches.

    Attributes:
        halves: ``[2, rows]``: squares of the gradient, summed over each row, of every other batch and of the rest.
        curvature: ``[columns, columns]``: products of the gradients of two columns, summed over the rows; None where
            there is one column, or too many.
        products: ``[2, rows, rows]``: products of the gradients of two rows, summed over the columns, of every other
            batch and of the rest; None where there is one column or row, or too many.
    """

    halves: Tensor
    curvature: Tensor | None
    products: Tensor | None = None

    @property
    def rows(self) -> Tensor:
        """``[rows]``: squares of the gradient, summed over each row and all batches."""
        return self.halves.sum(0)

    @classmethod
    def zero(cls, rows: int, columns: int) -> Sensitivity:
        """That of a parameter before the first batch."""
        curvature = torch.zeros(columns, columns) if 1 < columns <= _WIDEST else None
        coupled = curvature is not None and 1 < rows <= _TALLEST
        return cls(torch.zeros(2, rows), curvature, torch.zeros(2, rows, rows) if coupled else None)

    def add(self, gradient: Tensor, batch: int) -> None:
        """Count one more gradient ``[rows, columns]``, of the batch of this number."""
        squares = gradient.square().sum(1)
        self.halves[batch % 2] += squares
        if self.curvature is not None:
            touched = gradient[squares > 0]
            self.curvature.addmm_(touched.T, touched)
        if self.products is not None:
            self.products[batch % 2].addmm_(gradient, gradient.T)


def measure_sensitivity(weights: Weights, module: nn.Module, calibration: Calibration) -> dict[str, Sensitivity]:
    """Gradients at the module's present weights, batch by batch: of its answers where these are told, else of the loss.

    The module is in evaluation mode when this is called. Which parameters want gradients is changed, and is the
    caller's to put back.

    Args:
        weights: the stored tensors; what is tied counts with the tensor it is a view of.
        module: which holds them.
        calibration: batches and their loss, or the module's answers to them too (:class:`Distillation`).

    Returns:
        Name of a stored floating-point tensor → its sensitivity, in main memory. Tensors that are not felt, because
        answers do not depend on them or their gradients are all 0, are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite.
    """
    if isinstance(calibration, Distillation):
        generator = torch.Generator().manual_seed(0)

        def outputs(module: nn.Module, batch: Any) -> Tensor:
            return probe(calibration.outputs(module, batch), generator)

        found = _summed(weights, module, calibration, outputs, _PROBES)
        if found:
            return found
        _log.warning("the answers of the module depend on no weight, or are of one class: its loss is taken instead")
    return _summed(weights, module, calibration, calibration.loss, 1)


def _summed(
    weights: Weights,
    module: nn.Module,
    calibration: Calibration,
    scalar: Callable[[nn.Module, Any], Tensor],
    least: int,
) -> dict[str, Sensitivity]:
    """Over all batches, which are gone through again until there were at least so many."""
    found: dict[str, Sensitivity] = {}
    passed = 0
    while passed < least:
        last = 0
        for last, name, gradient in stored_gradients(weights, module, batches_of(calibration), scalar):
            matrix = gradient.reshape(matrix_shape(gradient.shape))
            if name not in found:
                found[name] = Sensitivity.zero(*matrix.shape)
            found[name].add(matrix, last)
        if not found:
            break
        passed += last + 1
    return {name: sensitivity for name, sensitivity in found.items() if bool(sensitivity.rows.any())}


def stored_gradients(
    weights: Weights, module: nn.Module, batches: Iterable[Any], loss: Callable[[nn.Module, Any], Tensor]
) -> Iterator[tuple[int, str, Tensor]]:
    """The gradients of the stored tensors, batch by batch, at the module's present weights.

    The module and its parameters as for :func:`measure_sensitivity`.

    Args:
        weights: see there.
        module: see there.
        batches: that the loss is taken of.
        loss: module and batch → a scalar.

    Yields:
        Number of the batch, name of a stored floating-point tensor, and its gradient for that batch, in main memory;
        tensors that the loss of the batch does not reach are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite.
    """
    bindings = bindings_of(weights, module)
    shapes = {weight.name: tuple(weight.tensor.shape) for weight in weights}
    for parameter in parameters_of(bindings):
        parameter.requires_grad_(True)
    for number, batch in enumerate(batches):
        gradients = _gradients(module, loss, batch, number, parameters_of(bindings))
        for name, group in bindings.items():
            gradient = summed_gradient(group, gradients, shapes[name])
            if gradient is None:
                continue
            found = gradient.detach().float().cpu()
            if not bool(found.square().sum().isfinite()):
                raise SearchError(
                    f"calibration batch {number} gives {name!r} a gradient that is not finite, or too large: leave the "
                    "batch out, or check it. The module is as it was."
                )
            yield number, name, found


def _gradients(
    module: nn.Module,
    loss_of: Callable[[nn.Module, Any], Tensor],
    batch: Any,
    number: int,
    parameters: Sequence[nn.Parameter],
) -> dict[int, Tensor | None]:
    """The gradients of one batch by the ``id`` of the parameter; None for those that its loss does not reach."""
    try:
        # The recurrent layers of cuDNN have no gradient in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            loss = loss_of(module, batch)
            gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    except Exception as error:
        raise SearchError(
            f"calibration.{getattr(loss_of, '__name__', 'loss')} failed on batch {number} with {type(error).__name__}: "
            f"{error}. Give batches that fit the module, on its device. The module is as it was."
        ) from error
    return {id(parameter): gradient for parameter, gradient in zip(parameters, gradients, strict=True)}
