"""The plan that a rate-penalised training starts from, for a target and the trained weights; and the first weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import TrainingError
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, GridGuide, Half
from lightning_compress.search import CalibrationData
from lightning_compress.search.sensitivity.bit_allocation import allocate_bits
from lightning_compress.training.shared import fisher_of
from lightning_compress.weights import Weights, standard_deviation

Start = TypeVar("Start")

_HALVINGS = 7
_FINEST, _WIDEST = -6.0, math.log2(6.0)  # of a step, as a binary logarithm of standard deviations
_HALF = Half(rounding="nearest")


def starting_plan(weights: Weights, target: int, headroom: float = 1.05) -> GuidedPlan:
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
    matrices = [weight.tensor for weight in weights if weight.is_trained and weight.tensor.dim() > 1]
    if not matrices:
        raise TrainingError("the model has no matrix, so there is nothing that a grid could compress: keep it as it is")
    deviation = standard_deviation(matrices)
    return _start(
        lambda octaves: GuidedPlan(_uniform_plan(weights, deviation * 2.0**octaves)),
        lambda guided: guided.compress(weights).nbytes,
        target,
        headroom,
    )


@dataclass(frozen=True, eq=False)
class CalibratedStart:
    """The plan of a training, and the weights to begin with.

    Attributes:
        guided: a grid for each matrix, and steps for its rows.
        points: name → the points of the grid to begin with, in place of the trained weights; empty to begin with these.
    """

    guided: GuidedPlan
    points: Mapping[str, Tensor]

    @torch.no_grad()
    def load(self, weights: Weights) -> None:
        """Copy the points into weights, whose memory a module holds."""
        for weight in weights:
            if weight.name in self.points:
                weight.tensor.copy_(self.points[weight.name])

    def nbytes(self, weights: Weights) -> int:
        """Bytes of the file of the points, beside those weights that have none."""
        begun = [replace(each, tensor=self.points.get(each.name, each.tensor)) for each in weights]
        return self.guided.compress(replace(weights, weights=tuple(begun))).nbytes


def calibrated_start(
    weights: Weights,
    module: nn.Module,
    calibration: CalibrationData,
    target: int,
    headroom: float = 1.02,
    *,
    feeds_back: bool = True,
) -> CalibratedStart:
    """A grid for each matrix, and a step for each of its rows, by what they matter to the loss; vectors in half
    precision. The file has ``headroom`` · ``target`` bytes.

    Steps follow the Fisher information that a search uses (:mod:`lightning_compress.search.sensitivity`): rows of rare
    words get coarse ones, as in Chung et al. 2020, "Extremely low bit Transformer quantization for on-device neural
    machine translation". The points to begin with are those that a search would take without a trellis: each rounding
    error is made up for by the weights after it (error feedback, Frantar et al. 2023, "GPTQ"), which rounding to the
    nearest points does not. A training that begins there has less to win back.

    Args:
        weights: the trained weights, which the module holds.
        module: is restored afterwards.
        calibration: batches like those of the training, with ``outputs``, which gives the better estimate, or ``loss``.
        target: bytes of the file after the training.
        headroom: bytes of the file before it over those after it.
        feeds_back: whether there are points to begin with; else the training begins with the trained weights.

    Raises:
        SearchError: a batch fails.
        TrainingError: no matrix has a gradient, or even the largest steps have more bytes than the target.
    """
    found = allocate_bits(weights, fisher_of(weights, module, calibration))
    matrices = {weight.name: weight.tensor for weight in weights if weight.tensor.squeeze().dim() > 1}
    allocations = {name: allocation for name, allocation in found.items() if name in matrices}
    if not allocations:
        raise TrainingError(
            "the calibration depends on no matrix of the model: check its batches, and its outputs or loss"
        )
    guidance = {name: GridGuide(allocation.guide.exponents) for name, allocation in allocations.items()}

    def start_at(octaves: float) -> CalibratedStart:
        grids = {name: _grid(found.step * 2.0**octaves) for name, found in allocations.items()}
        rules = (Rule(name, grid, _HALF) for name, grid in grids.items())
        guided = GuidedPlan(Plan(*rules, Rule("*", _HALF, optional=True)), guidance)
        if not feeds_back:
            return CalibratedStart(guided, {})
        return CalibratedStart(
            guided,
            {
                name: grid.fit([matrices[name]]).quantize(matrices[name], _HALF, guide=allocations[name].guide)
                for name, grid in grids.items()
            },
        )

    return _start(start_at, lambda start: start.nbytes(weights), target, headroom)


def _start(start_at: Callable[[float], Start], nbytes: Callable[[Start], int], target: int, headroom: float) -> Start:
    """Bisect the octaves of the steps."""
    least = nbytes(start_at(_WIDEST))
    if least > target:
        raise TrainingError(
            f"the target is {target:,} bytes, and the file has {least:,} with the largest step: give a larger target"
        )
    low, high = _FINEST, _WIDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_small = nbytes(start_at(middle)) < headroom * target
        low, high = (low, middle) if is_small else (middle, high)
    return start_at((low + high) / 2)


def _uniform_plan(weights: Weights, step: float) -> Plan:
    """Half precision for vectors, by the patterns that most of them have and then by name; a grid for the rest."""
    matrices = [weight.name for weight in weights if weight.tensor.dim() > 1]
    vectors = [weight.name for weight in weights if weight.tensor.dim() < 2 and weight.is_trained]
    common = [part for part in ("bias", "norm") if not any(part in name for name in matrices)]
    rest = [name for name in vectors if not any(part in name for part in common)]
    rules = [Rule(pattern, _HALF, optional=True) for pattern in (*(f"*{part}*" for part in common), *rest)]
    return Plan(*rules, Rule("*", _grid(step), _HALF))


def _grid(step: float) -> Grid:
    """A grid whose rate has a gradient; its step is short in the plan, and the difference has no effect."""
    return Grid(float(f"{step:.3g}"), trellis=0, rate_weight=0)
