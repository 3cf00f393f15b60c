"""Mixed bits: each matrix gets bits by what its quantization would cost the loss.

S. Shen et al. 2020, "Q-BERT", section 3.1, give bits by the curvature of the loss in each layer; Z. Dong et al. 2020,
"HAWQ-V2", section 3.2, by the trace of the Hessian times the squared error of quantization. Here the curvature is the
Fisher information of each row, so a row that matters weighs its own error.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.plan import Method, Plan, Rule
from lightning_compress.quantize import GroupWise, Half, Quantizer, matrix_shape
from lightning_compress.search import CalibrationData
from lightning_compress.search.sensitivity.fisher import FisherStatistics
from lightning_compress.training.shared import fisher_of
from lightning_compress.weights import Weights

_HALF = Half(rounding="nearest")


def mixed_bits(
    module: nn.Module,
    calibration: CalibrationData,
    bits: float = 4.0,
    *,
    choices: Sequence[int] = (2, 3, 4, 8),
    quantizer: Callable[[int], Method] = GroupWise,
) -> Plan:
    """A plan in which matrices have different bits, such that the loss is expected to grow least.

    Beginning with the fewest bits, that matrix gets more whose expected loss falls most for each bit that this takes,
    as long as the mean over all weights stays within ``bits``. Vectors are stored in half precision.

    Args:
        module: with the trained weights; is restored afterwards.
        calibration: batches like those of the training, and their loss, as for
            :func:`~lightning_compress.smallest`; with ``outputs`` its estimate is better.
        bits: per weight of the matrices, at most, without scales.
        choices: of bits, at least one of them within ``bits``.
        quantizer: bits → the method.

    Raises:
        SearchError: a batch fails.
        TrainingError: no matrix has a gradient, the choices are no whole numbers, or all above ``bits``, or
            ``quantizer`` gives another method.
    """
    options = sorted(set(choices))
    if not options or any(type(each) is not int for each in options) or not options[0] <= bits:
        raise TrainingError(f"choices is {choices!r} and bits is {bits!r}: give whole numbers, one of them within bits")
    weights = Weights.from_module(module)
    statistics = fisher_of(weights, module, calibration)
    matrices = {
        weight.name: weight.tensor
        for weight in weights
        if weight.reason is None and weight.name in statistics and weight.tensor.squeeze().dim() > 1
    }
    if not any(bool(statistics[name].row_totals.any()) for name in matrices):
        raise TrainingError("the loss of the calibration depends on no matrix of the model: check its batches and loss")
    methods = [quantizer(each) for each in options]
    quantizers = [_quantizer(each) for each in methods]
    costs = {name: [_cost(tensor, statistics[name], each) for each in quantizers] for name, tensor in matrices.items()}
    sizes = {name: tensor.numel() for name, tensor in matrices.items()}
    chosen = _allocate(costs, sizes, options, bits)
    rules = (Rule(name, methods[choice], _HALF) for name, choice in chosen.items())
    return Plan(*rules, Rule("*", _HALF, optional=True))


def _quantizer(method: Method) -> Quantizer:
    found = Rule("*", method).quantizer
    if found is None:
        raise TrainingError(f"quantizer gives {method!r}, expected a method that quantizes, such as GroupWise(4)")
    return found


def _cost(tensor: Tensor, fisher: FisherStatistics, method: Quantizer) -> float:
    """The expected growth of the loss, but for a factor that all tensors share."""
    values = tensor.detach().cpu()
    error = (method.fit([values]).quantize(values) - values).reshape(matrix_shape(tuple(values.shape)))
    return float(fisher.row_totals.double() @ error.double().square().mean(1))


def _allocate(
    costs: dict[str, list[float]], sizes: dict[str, int], options: Sequence[int], bits: float
) -> dict[str, int]:
    """Name → the place of its bits among the options, by the largest fall of the cost per bit."""
    chosen = dict.fromkeys(costs, 0)
    left = (bits - options[0]) * sum(sizes.values())
    waiting: list[tuple[float, str, int]] = []

    def offer(name: str, below: int) -> None:
        """Let a tensor wait for the best of the options between its own and ``below``."""
        at, size = chosen[name], sizes[name]
        falls = [
            ((costs[name][to] - costs[name][at]) / (size * (options[to] - options[at])), to)
            for to in range(at + 1, below)
        ]
        fall, to = min(falls, default=(0.0, at))
        if fall < 0:
            heapq.heappush(waiting, (fall, name, to))

    for name in costs:
        offer(name, len(options))
    while waiting:
        _, name, to = heapq.heappop(waiting)
        more = sizes[name] * (options[to] - options[chosen[name]])
        if more <= left:
            left, chosen[name] = left - more, to
        offer(name, len(options) if chosen[name] == to else to)
    return chosen
