"""The observed family: uniform grids, guided by what the evaluation shows of the inputs and uses of each matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from lightning_compress.quantize import GridGuide, feedback_factor
from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.observe import ActivationObserver, InputStatistics
from lightning_compress.search.sensitivity.bit_allocation import DAMPING
from lightning_compress.search.sensitivity.row_steps import rounded_exponents
from lightning_compress.weights import Weights
from lightning_compress.weights.bindings import bindings_of

_PART = 0.5  # of the way from equal steps to those by the full formula: how often a row is used says only how often
_RANGE = 2.0  # octaves around the tensor's step that those of rows keep to; rows never seen get at most twice the step


class Observer:
    """Watches how a module uses its weights.

    Args:
        weights: the stored tensors.
        module: which holds them.

    Attributes:
        observations: name of a stored matrix → what was seen of it.
    """

    def __init__(self, weights: Weights, module: nn.Module) -> None:
        self.weights = weights
        self.module = module
        self.observations: dict[str, InputStatistics] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A block in which the module may be used as always, with the weights loaded; if it fails, nothing was seen."""
        try:
            with ActivationObserver(bindings_of(self.weights, self.module), self.observations):
                yield
            for observation in self.observations.values():
                observation.finish()
        except BaseException:
            self.observations.clear()
            raise


def observed_families(weights: Weights, observations: Mapping[str, InputStatistics]) -> Sequence[PlanFamily]:
    """Uniform grids guided by observations, then the same without; these alone where nothing was seen."""
    guides = guides_of(observations)
    (plain,) = uniform_families(weights)
    return (replace(plain, guidance=guides), plain) if guides else (plain,)


def guides_of(observations: Mapping[str, InputStatistics]) -> dict[str, GridGuide]:
    """What observations say of the grid of each tensor."""
    guides = {}
    for name, seen in observations.items():
        rows = _uses(seen)
        factor = None if seen.gram is None else feedback_factor(seen.gram, DAMPING)
        if rows is not None or factor is not None:
            guides[name] = GridGuide(None if rows is None else _exponents(rows), factor)
    return guides


def _uses(seen: InputStatistics) -> Tensor | None:
    """``[rows]``: how often rows are looked up or answer, relative to the mean; None where neither is."""
    known = [
        uses / uses.mean() for uses in (seen.lookups, seen.softmax_curvature) if uses is not None and bool(uses.any())
    ]
    return sum(known[1:], start=known[0]) if known else None


def _exponents(uses: Tensor) -> Tensor:
    """``[rows]`` int32, in 1/32 octave, by how often each row is used."""
    octaves = -0.5 * _PART * torch.log2(uses.double() / uses.double().mean() + 4.0**-_RANGE)
    return rounded_exponents(octaves, _RANGE)
