"""What several methods need: the Fisher information of trained weights, and that weights are finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.runtime import preserved_module
from lightning_compress.search import CalibrationData
from lightning_compress.search.sensitivity.fisher import FisherStatistics, estimate_fisher
from lightning_compress.weights import Weights, all_finite


def fisher_of(weights: Weights, module: nn.Module, calibration: CalibrationData) -> dict[str, FisherStatistics]:
    """Fisher statistics of the weights that a module holds, in evaluation mode; the module is restored afterwards.

    Arguments and errors are those of :func:`~lightning_compress.search.sensitivity.fisher.estimate_fisher`.
    """
    with torch.inference_mode(False), preserved_module(module):
        module.eval()
        return estimate_fisher(weights, module, calibration)


def check_finite(name: str, tensor: Tensor, treatment: str) -> None:
    """Refuse weights that are NaN or infinite before a method treats them.

    Args:
        name: of the tensor.
        tensor: the weights.
        treatment: what is done to them next, such as ``"quantized"``.

    Raises:
        TrainingError: they are not all finite.
    """
    if not all_finite(tensor):
        raise TrainingError(
            f"tensor {name!r} has NaN or infinite weights before it is {treatment}, so they come from the loss or "
            "from the optimizer: lower the learning rate, or clip gradients"
        )
