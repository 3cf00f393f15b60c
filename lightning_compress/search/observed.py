"""The observed family: uniform grids, guided by what the evaluation shows of the inputs and uses of each matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn

from lightning_compress.quantize import GridGuide, feedback_factor
from lightning_compress.search.allocation import DAMPING
from lightning_compress.search.family import PlanFamily
from lightning_compress.search.holders import holders_of
from lightning_compress.search.observation import Observation
from lightning_compress.search.rows import row_steps, tellers
from lightning_compress.search.uniform import uniform_families
from lightning_compress.search.watching import Watching
from lightning_compress.weights import Weights


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
        self.observations: dict[str, Observation] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A block in which the module may be used as always, with the weights loaded; if it fails, nothing was seen."""
        try:
            with Watching(holders_of(self.weights, self.module), self.observations):
                yield
            for observation in self.observations.values():
                observation.finish()
        except BaseException:
            self.observations.clear()
            raise


def observed_families(weights: Weights, observations: Mapping[str, Observation]) -> Sequence[PlanFamily]:
    """Uniform grids guided by observations, then the same without; these alone where nothing was seen."""
    guides = guides_of(observations)
    (plain,) = uniform_families(weights)
    return (replace(plain, guidance=guides), plain) if guides else (plain,)


def guides_of(observations: Mapping[str, Observation]) -> dict[str, GridGuide]:
    """What observations say of the grid of each tensor."""
    uses = {name: found for name, seen in observations.items() if (found := _uses(seen)) is not None}
    others = tellers(uses)
    guides = {}
    for name, seen in observations.items():
        steps = row_steps(uses[name], others.get(name, ())) if name in uses else None
        factor = None if seen.products is None else feedback_factor(seen.products, DAMPING)
        if steps is not None or factor is not None:
            guides[name] = GridGuide(None if steps is None else steps.exponents, factor)
    return guides


def _uses(seen: Observation) -> Tensor | None:
    """``[2, rows]``: how often rows are looked up or answer, relative to the mean; None where neither is."""
    known = [uses / uses.sum(0).mean() for uses in (seen.lookups, seen.answers) if uses is not None and bool(uses.any())]
    return sum(known[1:], start=known[0]) if known else None
