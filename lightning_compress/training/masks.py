"""Masks: which weights a training holds at 0, and the criteria that choose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.groups import Grouping
from lightning_compress.training.schedule import Schedule
from lightning_compress.weights import Binding, Weights, bindings_of, matches_any, summed_gradient

Criterion = Literal["magnitude", "taylor", "movement"]


class Masks:
    """The masks of the weights of a module.

    The criteria, of which a group of weights has the mean: ``magnitude``, w² (See et al. 2016; for groups H. Li et al.
    2017); ``taylor``, the sum of (w · gradient)² over steps, what the loss loses without the weight (P. Molchanov et
    al. 2019, "Importance estimation for neural network pruning", equation 8); ``movement``, minus the sum of w ·
    gradient: weights that move away from 0 stay (V. Sanh, T. Wolf and A. Rush 2020, equation 4).

    Args:
        module: the module, whose parameters must keep their memory.
        weights: its weights, in the memory of its parameters.
        patterns: which tensors are pruned.
        criterion: ``magnitude``, ``taylor`` or ``movement``.
        grouping: which weights are pruned together.
        is_global: whether all tensors are ranked together; otherwise each loses the same share.

    Raises:
        TrainingError: no parameter matches, or a tensor cannot be grouped.
    """

    def __init__(
        self,
        module: nn.Module,
        weights: Weights,
        patterns: Sequence[str],
        *,
        criterion: Criterion = "magnitude",
        grouping: Grouping | None = None,
        is_global: bool = True,
    ) -> None:
        if criterion not in get_args(Criterion):
            raise TrainingError(f"criterion {criterion!r} is unknown; write one of {', '.join(get_args(Criterion))}")
        self.criterion, self.is_global = criterion, is_global
        self.grouping = grouping or Grouping()
        bindings = bindings_of(weights, module)
        chosen = [each for each in weights if each.name in bindings and matches_any(patterns, each.name)]
        if not chosen:
            raise TrainingError(f"no parameter matches {', '.join(patterns)}: correct the patterns")
        for weight in chosen:
            self.grouping.check(weight.name, weight.tensor)
        self.tensors: dict[str, Tensor] = {each.name: each.tensor for each in chosen}
        self._bindings: dict[str, list[Binding]] = {name: bindings[name] for name in self.tensors}
        self._scores: dict[str, Tensor] = {}
        self.pruned: dict[str, Tensor] = {
            name: torch.zeros(len(self._means(name)), dtype=torch.bool, device=tensor.device)
            for name, tensor in self.tensors.items()
        }

    @property
    def share(self) -> float:
        """The share of the groups that is pruned."""
        return sum(int(each.sum()) for each in self.pruned.values()) / sum(map(len, self.pruned.values()))

    @torch.no_grad()
    def observe(self) -> None:
        """Add the gradients of a step to the scores; nothing for ``magnitude``."""
        if self.criterion == "magnitude":
            return
        for name, tensor in self.tensors.items():
            gradients = {id(each.parameter): each.parameter.grad for each in self._bindings[name]}
            gradient = summed_gradient(self._bindings[name], gradients, tensor.shape)
            if gradient is not None:
                product = tensor * gradient
                product = -product if self.criterion == "movement" else product.square()
                self._scores[name] = self._scores.get(name, torch.zeros_like(tensor)) + product

    @torch.no_grad()
    def update(self, schedule: Schedule, moment: int) -> None:
        """Prune until the share of the schedule is reached; pruned groups stay pruned. Ties go by order."""
        parts = [list(self.tensors)] if self.is_global else [[name] for name in self.tensors]
        for names in parts:
            scores = torch.cat([self._ranked(name) for name in names])
            count = max(schedule.pruned(len(scores), moment), int(scores.isneginf().sum()))
            lowest = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
            lowest[torch.sort(scores, stable=True).indices[:count]] = True
            sizes = [len(self.pruned[name]) for name in names]
            self.pruned.update(zip(names, torch.split(lowest, sizes), strict=True))
        self.apply()

    @torch.no_grad()
    def apply(self, state: Mapping[str, Tensor] | None = None) -> None:
        """Set the pruned weights to 0, in the module or in a state dict with its names."""
        for name, tensor in self.tensors.items():
            target = tensor if state is None else state.get(name)
            if target is not None and bool(self.pruned[name].any()):
                target.masked_fill_(self.grouping.spread(self.pruned[name], tensor).to(target.device), 0)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Masks and scores."""
        return {"pruned": dict(self.pruned), "scores": dict(self._scores)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue with these masks and scores.

        Raises:
            TrainingError: they are of other tensors or another grouping.
        """
        shapes = {name: each.shape for name, each in state["pruned"].items()}
        if shapes != {name: each.shape for name, each in self.pruned.items()}:
            raise TrainingError(
                "the masks in the checkpoint are of other tensors or of another granularity: resume with the patterns "
                "and the granularity that it was trained with"
            )
        for target, source in ((self.pruned, state["pruned"]), (self._scores, state["scores"])):
            target.update({name: each.to(self.tensors[name].device) for name, each in source.items()})

    def _means(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        if self.criterion == "magnitude":
            return self.grouping.means(tensor.detach().float().square())
        return self.grouping.means(self._scores.get(name, torch.zeros_like(tensor)).float())

    def _ranked(self, name: str) -> Tensor:
        """``[groups]``: the scores, lowest where a group is pruned already."""
        return self._means(name).masked_fill(self.pruned[name], -torch.inf)
