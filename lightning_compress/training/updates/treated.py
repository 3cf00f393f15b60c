"""The tensors that a plan changes, each with the parameters that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lightning_compress.compression import is_lossy
from lightning_compress.errors import PlanError
from lightning_compress.plan import Rule
from lightning_compress.weights import Binding, Weight, Weights, bindings_of


@dataclass(frozen=True, eq=False)
class Treated:
    """A stored tensor that a lossy rule treats.

    Attributes:
        weight: the tensor, in the memory of the module's parameters.
        rule: its rule.
        bindings: the parameters that hold it.
    """

    weight: Weight
    rule: Rule
    bindings: tuple[Binding, ...]


def treated_tensors(weights: Weights, rules: Sequence[Rule | None], module: nn.Module) -> tuple[Treated, ...]:
    """The tensors that the rules change, each with its parameters.

    Raises:
        PlanError: a rule treats what cannot be trained.
    """
    bindings = bindings_of(weights, module)
    found = []
    for weight, rule in zip(weights, rules, strict=True):
        if rule is None or not rule.is_lossy or not is_lossy(weight) or not weight.tensor.numel():
            continue
        if rule.factoring is not None:
            raise PlanError(
                f"rule {rule.pattern!r}: low-rank factors cannot be trained as a plan; replace the layers by their "
                "factors, train those, and leave the method out of the plan"
            )
        if weight.name not in bindings:
            raise PlanError(
                f"rule {rule.pattern!r} treats {weight.name!r}, which is no parameter of the module: it is not "
                "trained. Leave it out of the plan, or exclude it"
            )
        found.append(Treated(weight, rule, tuple(bindings[weight.name])))
    return tuple(found)
