"""The plan that a rate-penalised training starts from, for a target and nothing else."""

from __future__ import annotations

import math

from lightning_compress.compression import compress
from lightning_compress.errors import TrainingError
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half
from lightning_compress.weights import Weights, standard_deviation

_HALVINGS = 7
_WIDEST = 6.0  # standard deviations of the weights, as a step


def starting_plan(weights: Weights, target: int, headroom: float = 1.15) -> Plan:
    """One grid for all matrices, half precision for vectors, such that the file has ``headroom`` · ``target`` bytes.

    A step that alone reached the target would leave the penalty nothing to decide; a much smaller one would leave it
    more than a short training can do.

    Args:
        weights: the trained weights.
        target: bytes of the file after the training.
        headroom: bytes of the file before it over those after it.

    Raises:
        TrainingError: even the largest step has more bytes than the target.
    """
    matrices = [weight.tensor for weight in weights if weight.tensor.is_floating_point() and weight.tensor.dim() > 1]
    if not matrices:
        raise TrainingError("the model has no matrix, so there is nothing that a grid could compress: keep it as it is")
    deviation = standard_deviation(matrices)
    low, high = math.log(deviation / 64), math.log(_WIDEST * deviation)
    least = compress(weights, _plan(weights, math.exp(high))).nbytes
    if least > target:
        raise TrainingError(
            f"the target is {target:,} bytes, and the file has {least:,} with the largest step: give a larger target"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_small = compress(weights, _plan(weights, math.exp(middle))).nbytes < headroom * target
        low, high = (low, middle) if is_small else (middle, high)
    return _plan(weights, math.exp((low + high) / 2))


def _plan(weights: Weights, step: float) -> Plan:
    """Half precision for vectors, by the patterns that most of them have and then by name; a grid for the rest."""
    half, matrices = Half(rounding="nearest"), [weight.name for weight in weights if weight.tensor.dim() > 1]
    vectors = [weight.name for weight in weights if weight.tensor.dim() < 2]
    common = [part for part in ("bias", "norm") if not any(part in name for name in matrices)]
    rest = [name for name in vectors if not any(part in name for part in common)]
    rules = [Rule(pattern, half, optional=True) for pattern in (*(f"*{part}*" for part in common), *rest)]
    return Plan(*rules, Rule("*", Grid(float(f"{step:.3g}"), trellis=0, rate_weight=0), half))
