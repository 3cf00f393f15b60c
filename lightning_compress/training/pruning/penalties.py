"""Penalties on the weights by proximal steps: after each step of the optimizer, weights are drawn towards 0.

N. Parikh and S. Boyd 2014, "Proximal algorithms", section 4.2 (proximal gradient method): the optimizer steps along the
gradient of the loss, and then the weights become those that minimize penalty · learning rate + ½ · squared distance.
Unlike a term in the loss this makes weights exactly 0, and adaptive optimizers do not rescale it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.pruning.grouping import Grouping
from lightning_compress.training.pruning.groups import Groups, groups_of
from lightning_compress.weights import Weights

Penalty = Literal["l1", "l2", "group-lasso", "reweighted-l1"]


def soft_threshold(weight: Tensor, amount: float | Tensor) -> Tensor:
    """The proximal step of amount · the absolute value of w (Parikh and Boyd 2014, section 6.5.2)."""
    return weight.sign() * (weight.abs() - amount).clamp_min(0)


def group_factors(squares: Tensor, sizes: Tensor, amount: float) -> Tensor:
    """``[groups]``: what a proximal step of amount · √size · norm multiplies each group by.

    M. Yuan and Y. Lin 2006, "Model selection and estimation in regression with grouped variables", equation 2.6; Parikh
    and Boyd 2014, section 6.5.1.

    Args:
        squares: ``[groups]``: the sum of the squares of each group.
        sizes: ``[groups]``: the number of its elements.
        amount: of the step.
    """
    return (1 - amount * sizes.sqrt() / squares.sqrt().clamp_min(torch.finfo(squares.dtype).tiny)).clamp_min(0)


class ProximalSteps:
    """A penalty on the weights of a module.

    ``l1``: strength · Σ of the absolute values. ``l2``: strength · ½ Σ w². ``group-lasso``: strength · Σ √size · norm
    over groups, which makes whole groups 0. ``reweighted-l1``: the absolute values divided by (1 + their former value /
    scale), so that weights that matter are not drawn to 0 as strongly as small ones; F.-M. Guo et al. 2019, "Reweighted
    proximal pruning for large-scale language representation", section 3, after E. J. Candès, M. B. Wakin and S. P. Boyd
    2008, "Enhancing sparsity by reweighted l1 minimization", section 1.2. Where the papers add ε to the former value,
    ε is the scale here, and the strength is that of a weight of 0.

    Args:
        module: the module, whose parameters must keep their memory.
        weights: its weights, in the memory of its parameters.
        patterns: which tensors, or which structures, by their names; None for all structures or all tensors of more
            than one dimension.
        penalty: one of the four.
        strength: of the penalty, in units of the loss for each unit of the weights.
        grouping: of ``group-lasso``.
        scale: of ``reweighted-l1``, positive: the size of weights beyond which the penalty becomes weak.
        reweight_every: of ``reweighted-l1``: optimizer steps after which the values count as former ones.

    Raises:
        TrainingError: an argument is out of range, nothing matches, or a tensor cannot be grouped.
    """

    def __init__(
        self,
        module: nn.Module,
        weights: Weights,
        patterns: Sequence[str] | None,
        *,
        penalty: Penalty,
        strength: float,
        grouping: Grouping | None = None,
        scale: float = 1e-2,
        reweight_every: int = 100,
    ) -> None:
        check_penalty(penalty, strength, grouping, scale, reweight_every)
        self.penalty, self.strength = penalty, strength
        self._scale, self._every = scale, reweight_every
        groups, bindings = groups_of(module, weights, patterns, grouping or Grouping())
        self.groups: list[Groups] = groups
        self.tensors: dict[str, Tensor] = {name: tensor for each in groups for name, tensor in each.tensors.items()}
        self._parameters = {name: [id(each.parameter) for each in bindings[name]] for name in self.tensors}
        self._former: dict[str, tuple[int, Tensor]] = {}  # when the values were taken, and the values

    @property
    def share(self) -> float:
        """The share of the weights that is 0."""
        zeros = sum(int((tensor == 0).sum()) for tensor in self.tensors.values())
        return zeros / max(1, sum(tensor.numel() for tensor in self.tensors.values()))

    @torch.no_grad()
    def step(self, rates: Mapping[int, float], moment: int) -> None:
        """One proximal step, after a step of the optimizer.

        Args:
            rates: ``id`` of a parameter → its learning rate; of the parameters that the optimizer has changed.
            moment: the number of the optimizer step.
        """
        known = {name: self._rate(name, rates) for name in self.tensors}
        if self.penalty == "group-lasso":
            for groups in self.groups:
                rate = known[next(iter(groups.tensors))]
                if rate is not None:
                    self._shrink_groups(groups, rate * self.strength)
            return
        for name, rate in known.items():
            if rate is not None:
                self._shrink(name, rate * self.strength, moment)

    def state_dict(self) -> dict[str, dict[str, tuple[int, Tensor]]]:
        """The former values of ``reweighted-l1``."""
        return {"former": dict(self._former)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, tuple[int, Tensor]]]) -> None:
        """Continue with these values."""
        device = {name: tensor.device for name, tensor in self.tensors.items()}
        self._former = {name: (moment, each.to(device[name])) for name, (moment, each) in state["former"].items()}

    def _rate(self, name: str, rates: Mapping[int, float]) -> float | None:
        return next((rates[each] for each in self._parameters[name] if each in rates), None)

    def _shrink(self, name: str, amount: float, moment: int) -> None:
        tensor = self.tensors[name]
        if self.penalty == "l2":
            tensor.div_(1 + amount)
        elif self.penalty == "l1":
            tensor.copy_(soft_threshold(tensor, amount))
        else:
            taken, former = self._former.get(name, (-math.inf, tensor))
            if moment - taken >= self._every:
                former = tensor.abs()
                self._former[name] = (moment, former)
            tensor.copy_(soft_threshold(tensor, amount * self._scale / (self._scale + former)))

    def _shrink_groups(self, groups: Groups, amount: float) -> None:
        squares = groups.sums({name: tensor.float().square() for name, tensor in groups.tensors.items()})
        factors = group_factors(squares, groups.sizes.to(squares.device), amount)
        # Elements of two groups, such as the recurrence of an LSTM, are multiplied by both factors.
        for name, exponents in groups.spread(-factors.log()).items():
            groups.tensors[name].mul_(torch.exp(-exponents))


def check_penalty(penalty: str, strength: float, grouping: Grouping | None, scale: float, reweight_every: int) -> None:
    """Raise a TrainingError for arguments that make no penalty."""
    known = get_args(Penalty)
    if penalty not in known:
        raise TrainingError(f"penalty {penalty!r} is unknown; write one of {', '.join(known)}")
    if not (math.isfinite(strength) and strength >= 0):
        raise TrainingError(f"strength is {strength}, expected a finite number from 0")
    granularity = "weight" if grouping is None else grouping.granularity
    if (penalty == "group-lasso") == (granularity == "weight"):
        raise TrainingError(
            "group-lasso needs a granularity, such as 'row' or 'head'; of single weights it is l1"
            if penalty == "group-lasso"
            else f"{penalty} is a penalty on single weights: leave granularity={granularity!r} out, or take group-lasso"
        )
    if not (math.isfinite(scale) and scale > 0) or reweight_every < 1:
        raise TrainingError(
            f"scale is {scale} and reweight_every {reweight_every}, expected a number above 0 and at least 1 step"
        )


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    """``id`` of each parameter of an optimizer → its learning rate now.

    Raises:
        TrainingError: the optimizer has none.
    """
    rates = {}
    for group in optimizer.param_groups:
        if "lr" not in group:
            raise TrainingError(
                f"{type(optimizer).__name__} has no learning rate 'lr', by which a proximal step is scaled: take "
                "another optimizer"
            )
        rates.update({id(each): float(group["lr"]) for each in group["params"]})
    return rates
