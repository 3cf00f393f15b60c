"""Magnitude pruning after training: which weights become zero.

Sources: See, Luong and Manning 2016, "Compression of Neural Machine Translation Models via Pruning" (class-blind,
class-uniform, class-distribution); the reference paper, section 3.1, table 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal, get_args

from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.weights import standard_deviation
from lightning_compress.weights.magnitude import Cut, key_of, needs_double, smallest_magnitudes

Scheme = Literal["class-blind", "class-uniform", "class-distribution", "threshold"]


@dataclass(frozen=True)
class Prune:
    """Set the smallest weights to zero.

    Attributes:
        amount: what is pruned, by ``scope``:

            - ``class-blind``: this fraction (0 to 1) of all weights the rule covers, ranked together;
            - ``class-uniform``: this fraction of each class, ranked within it;
            - ``class-distribution``: in each class, |w| < amount · σ, σ the standard deviation of its weights;
            - ``threshold``: |w| < amount.
        scope: one of the four.

    A fraction of n weights is rounded down to a whole number, which is pruned exactly. Of weights of equal magnitude
    the first in the order of the tensors and their elements are pruned.
    All floating-point weights under the rule count, biases and norms too. NaN and infinity are never pruned.

    Raises:
        PlanError: an unknown scope, a fraction outside 0–1, a negative or infinite threshold.
    """

    id: ClassVar[str] = "prune"
    role: ClassVar[str] = "prune"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True

    amount: float
    scope: Scheme = "class-blind"

    def __post_init__(self) -> None:
        if self.scope not in get_args(Scheme):
            raise PlanError(f"Prune: scope {self.scope!r} is unknown; write one of {', '.join(get_args(Scheme))}")
        if isinstance(self.amount, bool) or not isinstance(self.amount, (int, float)):
            raise PlanError(f"Prune: amount is {self.amount!r}, expected a number such as 0.15")
        object.__setattr__(self, "amount", float(self.amount))
        if self.is_fraction and not 0 <= self.amount <= 1:
            raise PlanError(f"Prune: {self.scope} takes a fraction from 0 to 1, got {self.amount}; for 15 % write 0.15")
        if not self.is_fraction and not 0 <= self.amount < math.inf:
            raise PlanError(f"Prune: {self.scope} takes a finite number of at least 0, got {self.amount}")

    @property
    def is_fraction(self) -> bool:
        """Whether ``amount`` is a share of the weights rather than a bound on |w|."""
        return self.scope in ("class-blind", "class-uniform")

    @property
    def share(self) -> float | None:
        """The share of the weights that is set to 0; None where ``amount`` is a bound."""
        return self.amount if self.is_fraction else None

    @property
    def label(self) -> str:
        """The share in percent, or the bound."""
        return f"prune {self.amount:g}" if self.share is None else f"prune {100 * self.share:g} %"

    def scaled(self, factor: float) -> Prune:
        """Itself: it has no step."""
        return self

    def group(self, name: str, class_name: str) -> str:
        """Key of the weights that are ranked together with this tensor."""
        return class_name if self.scope in ("class-uniform", "class-distribution") else ""

    def fit(self, tensors: Sequence[Tensor]) -> Cut:
        """The cut for one group of tensors."""
        if self.is_fraction:
            weights = sum(tensor.numel() for tensor in tensors)
            return smallest_magnitudes(tensors, [math.floor(Fraction(repr(self.amount)) * weights)])[0]
        bound = self.amount * (standard_deviation(tensors) if self.scope == "class-distribution" else 1.0)
        double = needs_double(tensors)
        return Cut(key_of(bound, double), 0, double)
