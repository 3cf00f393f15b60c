"""What the methods of a plan find in the weights before any is treated: the cuts, and the widths of the intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_compress.plan import Rule
from lightning_compress.quantize import FittedInterval
from lightning_compress.weights import Cut, Weight, Weights, chunks, true_positions

_LOSSY_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Group = tuple[Rule, str]


@dataclass
class Fitted:
    """Cuts and intervals by rule and group.

    Attributes:
        cuts: the part of each cut that the tensors still to come meet.
        intervals: the intervals.
    """

    cuts: dict[Group, Cut]
    intervals: dict[Group, FittedInterval]


def is_lossy(weight: Weight) -> bool:
    """Whether lossy methods may touch a tensor; all others are kept exactly."""
    return weight.tensor.dtype in _LOSSY_DTYPES


def cut_group(weight: Weight, rule: Rule) -> Group:
    """The weights that are ranked together with this tensor for pruning."""
    return rule, rule.prune.group(weight.name, weight.class_name) if rule.prune else ""


def interval_group(weight: Weight, rule: Rule) -> Group:
    """The weights that share an interval with this tensor."""
    return rule, rule.interval.group(weight.name, weight.class_name) if rule.interval else ""


def fit(weights: Weights, rules: Sequence[Rule | None]) -> Fitted:
    """Rank the weights of every group of every rule.

    Args:
        weights: the weights.
        rules: the rule of each, in order; None where nothing is to be fitted.
    """
    treated = [(w, r) for w, r in zip(weights, rules, strict=True) if r is not None and is_lossy(w)]
    to_cut: dict[Group, list[Tensor]] = defaultdict(list)
    to_cover: dict[Group, list[Weight]] = defaultdict(list)
    for weight, rule in treated:
        if rule.prune is not None:
            to_cut[cut_group(weight, rule)].append(weight.tensor)
        if rule.interval is not None:
            to_cover[interval_group(weight, rule)].append(weight)
    cuts = {group: group[0].prune.fit(tensors) for group, tensors in to_cut.items() if group[0].prune}
    intervals: dict[Group, FittedInterval] = {}
    for (rule, key), members in to_cover.items():
        assert rule.interval is not None
        interval = rule.interval.fit([weight.tensor for weight in members])
        # Pruned weights count as the zeros they become; that moves the border only where one of them reaches it.
        if rule.prune and any(cuts[cut_group(w, rule)].magnitude >= interval.half_width for w in members):
            starts = _starts([weight for weight, of in treated if of is rule], rule, cuts)
            interval = rule.interval.fit(_Pruned([(weight.tensor, starts[weight.name]) for weight in members]))
        intervals[(rule, key)] = interval
    return Fitted(cuts, intervals)


def _starts(weights: Sequence[Weight], rule: Rule, cuts: dict[Group, Cut]) -> dict[str, Cut]:
    """The part of its group's cut that each tensor of a rule meets, by name."""
    left, starts = dict(cuts), {}
    for weight in weights:
        group = cut_group(weight, rule)
        starts[weight.name] = left[group]
        for chunk in chunks(weight.tensor):
            _, left[group] = left[group].split(chunk)
    return starts


@dataclass(frozen=True)
class _Pruned(Sequence[Tensor]):
    """Tensors as pruning leaves them, flat, made one at a time; each with the cut that it meets."""

    parts: Sequence[tuple[Tensor, Cut]]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        tensor, cut = self.parts[index]
        result = tensor.detach().cpu().flatten().clone()
        start = 0
        for chunk in chunks(tensor):
            pruned, cut = cut.split(chunk)
            result[start : start + len(chunk)][true_positions(pruned)] = 0
            start += len(chunk)
        return result
