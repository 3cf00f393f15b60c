"""The squared gradient of each weight: the diagonal of the empirical Fisher information.

Near a minimum, a change δ of the weights increases the loss by Σ F δ² / 2. :mod:`fisher` sums the squares over rows for
quantization; here each weight has its own, to compare groups of weights.

Source: LeCun et al. 1990, "Optimal brain damage".
"""

from __future__ import annotations

from itertools import islice

from torch import Tensor, nn

from lightning_compress.search.sensitivity.calibration import Calibration, batches_of
from lightning_compress.search.sensitivity.fisher import stored_gradients
from lightning_compress.weights import Weights


def squared_gradients(weights: Weights, module: nn.Module, calibration: Calibration, batches: int) -> dict[str, Tensor]:
    """Mean over batches of the squared gradient of each batch's loss, at the module's present weights.

    The caller puts the module in evaluation mode, and restores ``requires_grad`` of its parameters afterwards. Needs as
    much memory as the weights.

    Args:
        weights: the stored tensors; gradients of tied tensors are added to the tensor they are views of.
        module: the module that holds them.
        calibration: batches and their loss.
        batches: the largest number of batches to use, from the start.

    Returns:
        Name of a stored floating-point tensor → ``F``, of the same shape, in main memory; tensors on which the loss
        does not depend are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite.
    """
    fisher: dict[str, Tensor] = {}
    used = list(islice(batches_of(calibration), batches))
    for _, name, gradient in stored_gradients(weights, module, used, calibration.loss):
        squares = gradient.square()
        fisher[name] = fisher[name].add_(squares) if name in fisher else squares
    return {name: squares.div_(len(used)) for name, squares in fisher.items()}
