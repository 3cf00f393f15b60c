"""How the loss feels each single weight: the squared gradient, the diagonal of the Fisher information.

Near a minimum the loss grows by half of Σ F δ² when the weights move by δ (LeCun et al. 1990, "Optimal brain damage").
:mod:`fisher` sums the same squares over rows, for quantizers; here each weight keeps its
own, for comparing parts of a model.
"""

from __future__ import annotations

from itertools import islice

from torch import Tensor, nn

from lightning_compress.search.sensitivity.calibration import Calibration, batches_of
from lightning_compress.search.sensitivity.fisher import stored_gradients
from lightning_compress.weights import Weights


def squared_gradients(weights: Weights, module: nn.Module, calibration: Calibration, batches: int) -> dict[str, Tensor]:
    """Mean over batches of the squared gradient of each batch's loss, at the module's present weights.

    The module is in evaluation mode when this is called. Which parameters want gradients is changed, and is the
    caller's to put back. Memory: once that of the weights.

    Args:
        weights: the stored tensors; what is tied counts with the tensor it is a view of.
        module: which holds them.
        calibration: batches and their loss.
        batches: of these, how many are taken at most, the first ones.

    Returns:
        Name of a stored floating-point tensor → ``F``, of its shape, in main memory; tensors that the loss does not
        reach are left out.

    Raises:
        SearchError: a batch fails, or its loss or a gradient is not finite.
    """
    found: dict[str, Tensor] = {}
    taken = list(islice(batches_of(calibration), batches))
    for _, name, gradient in stored_gradients(weights, module, taken, calibration.loss):
        squares = gradient.square()
        found[name] = found[name].add_(squares) if name in found else squares
    return {name: squares.div_(len(taken)) for name, squares in found.items()}
