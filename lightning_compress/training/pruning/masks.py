"""Masks: which weights a training holds at 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.pruning.criteria import Criterion, importance_of
from lightning_compress.training.pruning.grouping import Grouping
from lightning_compress.training.pruning.groups import groups_of
from lightning_compress.training.pruning.schedule import Schedule
from lightning_compress.training.shared import check_finite
from lightning_compress.weights import Binding, Weights, summed_gradient


class Masks:
    """The masks of the weights of a module. A group of weights has the mean of their scores.

    Args:
        module: the module, whose parameters must keep their memory.
        weights: its weights, in the memory of its parameters.
        patterns: which tensors are pruned, or which structures, by their names; None for all structures or all tensors
            of more than one dimension.
        criterion: see :func:`~lightning_compress.training.pruning.criteria.importance_of`.
        grouping: which weights are pruned together.
        is_global: whether all tensors or structures are ranked together; otherwise each loses the same share.

    Raises:
        TrainingError: nothing matches, or a tensor cannot be grouped.
    """

    def __init__(
        self,
        module: nn.Module,
        weights: Weights,
        patterns: Sequence[str] | None,
        *,
        criterion: Criterion = "magnitude",
        grouping: Grouping | None = None,
        is_global: bool = True,
    ) -> None:
        self._importance = importance_of(criterion)
        self.criterion, self.is_global = criterion, is_global
        self.grouping = grouping or Grouping()
        groups, bindings = groups_of(module, weights, patterns, self.grouping)
        self.groups = {each.name: each for each in groups}
        self.tensors: dict[str, Tensor] = {name: tensor for each in groups for name, tensor in each.tensors.items()}
        self._bindings: dict[str, list[Binding]] = {name: bindings[name] for name in self.tensors}
        self._scores: dict[str, Tensor] = {}
        self._spread: list[tuple[str, Tensor]] | None = None  # what is pruned of each tensor, until that changes
        device = next(iter(self.tensors.values())).device
        self.pruned: dict[str, Tensor] = {
            name: torch.zeros(len(each.sizes), dtype=torch.bool, device=device) for name, each in self.groups.items()
        }

    @property
    def share(self) -> float:
        """The share of the groups that is pruned."""
        return sum(int(each.sum()) for each in self.pruned.values()) / sum(map(len, self.pruned.values()))

    @torch.no_grad()
    def observe(self) -> None:
        """Add the gradients of a step to the scores; nothing for criteria without gradients.

        Gradients that are not finite are left out: mixed precision makes some, and skips the step.
        """
        if self._importance.step is None:
            return
        for name, tensor in self.tensors.items():
            gradients = {id(each.parameter): each.parameter.grad for each in self._bindings[name]}
            gradient = summed_gradient(self._bindings[name], gradients, tensor.shape)
            if gradient is not None:
                found = self._importance.step(tensor, gradient)
                found = found.where(torch.isfinite(gradient).all(), 0)
                self._scores[name] = self._scores.get(name, torch.zeros_like(tensor)) + found

    @torch.no_grad()
    def update(self, schedule: Schedule, moment: int) -> None:
        """Prune until the share of the schedule is reached; pruned groups stay pruned. Ties go by order.

        Raises:
            TrainingError: a weight is NaN or infinite.
        """
        for name, tensor in self.tensors.items():
            check_finite(name, tensor, "pruned")
        parts = [list(self.groups)] if self.is_global else [[name] for name in self.groups]
        for names in parts:
            scores = torch.cat([self._ranked(name) for name in names])
            count = max(schedule.pruned(len(scores), moment), int(scores.isneginf().sum()))
            lowest = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
            lowest[torch.sort(scores, stable=True).indices[:count]] = True
            sizes = [len(self.pruned[name]) for name in names]
            self.pruned.update(zip(names, torch.split(lowest & ~scores.isposinf(), sizes), strict=True))
        self._spread = None
        self.apply()

    @torch.no_grad()
    def hold_zeros(self) -> None:
        """Prune the groups that are 0 now."""
        for name, groups in self.groups.items():
            nonzero = groups.sums({each: (tensor != 0).float() for each, tensor in groups.tensors.items()})
            self.pruned[name] = (nonzero == 0) & (groups.sizes.to(nonzero.device) > 0)
        self._spread = None

    @torch.no_grad()
    def apply(self, state: Mapping[str, Tensor] | None = None) -> None:
        """Set the pruned weights to 0, in the module or in a state dict with its names."""
        if self._spread is None:
            some = [(self.groups[name], pruned) for name, pruned in self.pruned.items() if bool(pruned.any())]
            self._spread = [pair for groups, pruned in some for pair in groups.spread(pruned).items()]
        for name, mask in self._spread:
            target = self.tensors[name] if state is None else state.get(name)
            if target is not None:
                target.masked_fill_(mask.to(target.device), 0)

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
        self.pruned.update({name: each.to(self.pruned[name].device) for name, each in state["pruned"].items()})
        self._scores.update({name: each.to(self.tensors[name].device) for name, each in state["scores"].items()})
        self._spread = None

    def _ranked(self, name: str) -> Tensor:
        """``[groups]``: mean scores; lowest where a group is pruned already, infinite where it has no elements."""
        groups = self.groups[name]
        scores = {
            each: self._importance.score(
                tensor.detach().float(), self._scores.get(each, torch.zeros_like(tensor)).float()
            )
            for each, tensor in groups.tensors.items()
        }
        sums = groups.sums(scores)
        means = (sums / groups.sizes.to(sums.device)).masked_fill(groups.sizes.to(sums.device) == 0, torch.inf)
        return means.masked_fill(self.pruned[name], -torch.inf)
