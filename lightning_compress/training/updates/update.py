"""Which weights a training step computes with, between the latent and the quantized ones, and what draws both together.

In all three the optimizer updates the latent weights with the gradient at the weights that the step computed with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from torch import Tensor

from lightning_compress.errors import PlanError

UpdateName = Literal["straight-through", "proximal", "penalty"]


@runtime_checkable
class Update(Protocol):
    """How weights become quantized while a module trains."""

    @property
    def needs_length(self) -> bool:
        """Whether the length of the training must be known."""
        ...

    def used(self, latent: Tensor, quantized: Tensor, progress: float) -> Tensor:
        """The weights that a step computes with, of the shape of both arguments.

        Args:
            latent: what the optimizer updates.
            quantized: what a file restores of them; may be returned, or changed in place.
            progress: the part of the training that is done, 0 to 1.
        """
        ...

    def strength(self, progress: float) -> float:
        """The weight of ½ ‖latent − quantized‖² beside the loss; 0 for none."""
        ...


@dataclass(frozen=True)
class StraightThrough:
    """Each step computes with the quantized weights.

    Y. Bengio, N. Léonard and A. Courville 2013, "Estimating or propagating gradients through stochastic neurons",
    section 4.
    """

    needs_length = False

    def used(self, latent: Tensor, quantized: Tensor, progress: float) -> Tensor:
        """The quantized weights."""
        return quantized

    def strength(self, progress: float) -> float:
        """No penalty."""
        return 0.0


@dataclass(frozen=True)
class ProximalUpdate:
    """Each step computes with weights between the latent and the quantized ones: (w + λ · q) / (1 + λ).

    That is the proximal map of λ/2 times the squared distance to the quantized weights (P. Yin et al. 2018,
    "BinaryRelax", section 3; Y. Bai et al. 2019, "ProxQuant", section 3.2). λ grows by the same factor in each step,
    as in BinaryRelax, so that λ / (1 + λ) is the sigmoid schedule of PARQ (L. Jin et al. 2025, whose map has other
    pieces). After ``hard_after`` λ is infinite, as in the second phase of BinaryRelax.

    Attributes:
        hard_after: the share of the training after which steps compute with the quantized weights, above 0, up to 1.
        steepness: λ grows from e^(−steepness / 2) to e^(steepness / 2).

    Raises:
        PlanError: a value out of range.
    """

    needs_length = True

    hard_after: float = 0.75
    steepness: float = 10.0

    def __post_init__(self) -> None:
        _check_hard_after("ProximalUpdate", self.hard_after)
        _check_positive("ProximalUpdate", "steepness", self.steepness)

    def used(self, latent: Tensor, quantized: Tensor, progress: float) -> Tensor:
        """See :class:`Update`."""
        if progress >= self.hard_after:
            return quantized
        share = 1 / (1 + math.exp(self.steepness * (0.5 - progress / self.hard_after)))
        return latent.lerp(quantized, share)

    def strength(self, progress: float) -> float:
        """No penalty."""
        return 0.0


@dataclass(frozen=True)
class PenaltyUpdate:
    """Steps compute with the latent weights, and a term of the loss draws those to their quantized values.

    The term is strength/2 · Σ (w − q)². With ``KMeans`` the quantized values are the centroids: weight clustering
    with a regularizer. With any method it is the squared regularizer of Y. Bai et al. 2019, "ProxQuant", section 3.2,
    by its gradient. After ``hard_after`` steps compute with the quantized weights, as shared weights are retrained in
    S. Han, H. Mao and W. Dally 2016, "Deep Compression", section 3.3.

    Attributes:
        weight: the strength at ``hard_after``, to which it grows linearly from 0.
        hard_after: the share of the training, above 0, up to 1.

    Raises:
        PlanError: a value out of range.
    """

    needs_length = True

    weight: float = 0.1
    hard_after: float = 0.75

    def __post_init__(self) -> None:
        _check_hard_after("PenaltyUpdate", self.hard_after)
        _check_positive("PenaltyUpdate", "weight", self.weight)

    def used(self, latent: Tensor, quantized: Tensor, progress: float) -> Tensor:
        """See :class:`Update`."""
        return quantized if progress >= self.hard_after else latent

    def strength(self, progress: float) -> float:
        """See :class:`Update`."""
        return 0.0 if progress >= self.hard_after else self.weight * progress / self.hard_after


def update_of(update: Update | UpdateName) -> Update:
    """An update by its name, or itself.

    Raises:
        PlanError: neither a name nor an update.
    """
    known: dict[str, type[Update]] = {
        "straight-through": StraightThrough,
        "proximal": ProximalUpdate,
        "penalty": PenaltyUpdate,
    }
    if isinstance(update, str) and update in known:
        return known[update]()
    if isinstance(update, Update) and not isinstance(update, type):
        return update
    raise PlanError(
        f"update is {update!r}, expected one of {', '.join(map(repr, get_args(UpdateName)))}, ProximalUpdate(…) or "
        "PenaltyUpdate(…)"
    )


def _check_hard_after(owner: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise PlanError(f"{owner}: hard_after is {value!r}, expected a share of the training above 0, up to 1")


def _check_positive(owner: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise PlanError(f"{owner}: {name} is {value!r}, expected a finite number above 0")
