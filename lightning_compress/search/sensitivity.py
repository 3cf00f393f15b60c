"""How the loss reacts to each weight: second moments of its gradients over calibration batches.

Near a minimum the loss grows by half of δ F δᵀ when the weights move by δ, F being the Fisher information, the second
moment of the gradient. Of F we keep what rounding needs: its trace, row by row, and for each matrix the block that the
columns of a row share, summed over the rows. Gradients alone are needed, so any parameter of any module is served
alike: linear maps, attention, recurrent cells, embeddings.

Sources: LeCun et al. 1990, "Optimal brain damage"; Martens 2020, "New insights and perspectives on the natural gradient
method" (Fisher information as curvature); Kim et al. 2025, "GuidedQuant" (gradients in the curvature of layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.quantize import matrix_shape
from lightning_compress.search.calibration import Calibration

_WIDEST = 4096  # columns: the curvature of wider matrices would outweigh them; their columns are treated apart


@dataclass(eq=False)
class Sensitivity:
    """Of one parameter, seen as the matrix ``[rows, columns]`` that a grid sees; sums over batches.

    Attributes:
        rows: ``[rows]``: squares of the gradient, summed over each row.
        curvature: ``[columns, columns]``: products of the gradients of two columns, summed over the rows; None where
            there is one column, or too many.
    """

    rows: Tensor
    curvature: Tensor | None

    def add(self, gradient: Tensor) -> None:
        """Count one more gradient ``[rows, columns]``."""
        squares = gradient.square().sum(1)
        self.rows += squares
        if self.curvature is not None:
            touched = gradient[squares > 0]
            self.curvature.addmm_(touched.T, touched)


def measure_sensitivity(module: nn.Module, calibration: Calibration) -> dict[str, Sensitivity]:
    """Gradients of the loss at the module's present weights, batch by batch.

    The module is in evaluation mode when this is called. Which parameters want gradients is changed, and is the
    caller's to put back.

    Returns:
        Name of a floating-point parameter, as in the state dict → its sensitivity, in main memory. Parameters that the
        loss does not reach are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.is_floating_point() and p.numel()}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    found: dict[str, Sensitivity] = {}
    for number, batch in enumerate(calibration):
        for name, gradient in _gradients(module, calibration, batch, number, parameters).items():
            matrix = gradient.detach().float().cpu().reshape(matrix_shape(tuple(gradient.shape)))
            if name not in found:
                rows, columns = matrix.shape
                curvature = torch.zeros(columns, columns) if 1 < columns <= _WIDEST else None
                found[name] = Sensitivity(torch.zeros(rows), curvature)
            found[name].add(matrix)
    return found


def _gradients(
    module: nn.Module, calibration: Calibration, batch: object, number: int, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The gradients of one batch, of the parameters that its loss reaches."""
    try:
        # The recurrent layers of cuDNN have no gradient in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            loss = calibration.loss(module, batch)
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    except Exception as error:
        raise SearchError(
            f"calibration.loss failed on batch {number} with {type(error).__name__}: {error}. Give batches that fit "
            "the module, on its device. The module is as it was."
        ) from error
    reached = {name: g.to_dense() for name, g in zip(parameters, gradients, strict=True) if g is not None}
    if not all(bool(gradient.isfinite().all()) for gradient in reached.values()):
        raise SearchError(
            f"calibration batch {number} has a loss of {float(loss)} whose gradients are not finite: leave it out, or "
            "check it. The module is as it was."
        )
    return reached
