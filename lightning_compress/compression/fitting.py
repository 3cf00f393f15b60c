"""Fitting the methods of a plan to the weights, before any is quantized: cuts, factors, quantizer parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.plan import Rule
from lightning_compress.quantize import FLOATS, FittedQuantizer
from lightning_compress.weights import Cut, PrunedTensor, Weight, Weights, chunks, in_groups, pieces

Group = tuple[Rule, str, torch.dtype]  # a codebook of one type holds values that another does not


@dataclass(frozen=True)
class Fitted:
    """The fitted methods, by tensor and by group.

    Attributes:
        cuts: tensor name → the part of its group's cut that applies to the tensor.
        factors: tensor name → its left and right factor.
        quantizers: rule, group and dtype → the quantizer with its parameters.
    """

    cuts: Mapping[str, Cut]
    factors: Mapping[str, tuple[Tensor, Tensor]]
    quantizers: Mapping[Group, FittedQuantizer]

    def quantizer_of(self, weight: Weight, rule: Rule) -> FittedQuantizer | None:
        """The quantizer that treats a tensor, or its factors; None where the rule has none."""
        return self.quantizers.get(_quantizer_group(weight, rule))

    def of_tensor(self, weight: Weight, rule: Rule) -> Fitted:
        """The part that one tensor needs."""
        name, group = weight.name, _quantizer_group(weight, rule)
        return Fitted(
            {name: self.cuts[name]} if name in self.cuts else {},
            {name: self.factors[name]} if name in self.factors else {},
            {group: self.quantizers[group]} if group in self.quantizers else {},
        )


def is_lossy(weight: Weight) -> bool:
    """Whether lossy methods may touch a tensor; all others are kept exactly."""
    return weight.tensor.dtype in FLOATS


def fit(weights: Weights, rules: Sequence[Rule | None]) -> Fitted:
    """Fit every method of every rule to its groups.

    Args:
        weights: the weights.
        rules: the rule of each, in order; None where nothing is to be fitted.
    """
    treated = [(w, r) for w, r in zip(weights, rules, strict=True) if r is not None and is_lossy(w)]
    cuts = _cuts(treated)
    products = ((w.name, rule.factoring.factor(w.tensor)) for w, rule in treated if rule.factoring is not None)
    factors = {name: product for name, product in products if product is not None}
    members: dict[Group, list[tuple[Tensor, Cut | None]]] = defaultdict(list)
    for weight, rule in treated:
        parts = factors.get(weight.name, (weight.tensor,))
        members[_quantizer_group(weight, rule)] += [(part, cuts.get(weight.name)) for part in parts]
    groups = [group for group in members if group[0].quantizer is not None]
    tensors = [[w if cut is None else PrunedTensor.of(w, cut) for w, cut in members[group]] for group in groups]

    def fit_group(number: int) -> FittedQuantizer:
        quantizer = groups[number][0].quantizer
        assert quantizer is not None
        return quantizer.fit(tensors[number])

    return Fitted(cuts, factors, dict(zip(groups, in_groups(fit_group, tensors), strict=True)))


def pruned_mask(tensor: Tensor, cut: Cut) -> Tensor:
    """``[n]``, bool: which elements of a tensor belong to the cut that applies to it."""
    marks = []
    for piece in pieces(tensor):
        chosen, cut = cut.split(piece)
        marks.append(chosen)
    return marks[0] if len(marks) == 1 else torch.cat(marks)


def _quantizer_group(weight: Weight, rule: Rule) -> Group:
    """The tensors that share a quantizer's parameters with this one; all of them have its dtype."""
    key = rule.quantizer.group(weight.name, weight.class_name) if rule.quantizer else ""
    return rule, key, weight.tensor.dtype


def _cuts(treated: Sequence[tuple[Weight, Rule]]) -> dict[str, Cut]:
    """The part of its group's cut that applies to each tensor; ties at the border are cut in tensor order."""
    groups: dict[tuple[Rule, str], list[Weight]] = defaultdict(list)
    for weight, rule in treated:
        if rule.prune is not None:
            groups[rule, rule.prune.group(weight.name, weight.class_name)].append(weight)
    ranked = list(groups.items())

    def cuts_of(number: int) -> list[Cut]:
        (rule, _), members = ranked[number]
        assert rule.prune is not None
        cuts = [rule.prune.fit([weight.tensor for weight in members])]
        for weight in members[:-1]:
            cuts.append(_after(weight.tensor, cuts[-1]))
        return cuts

    tensors = [[weight.tensor for weight in members] for _, members in ranked]
    return {
        weight.name: cut
        for (_, members), cuts in zip(ranked, in_groups(cuts_of, tensors), strict=True)
        for weight, cut in zip(members, cuts, strict=True)
    }


def _after(tensor: Tensor, cut: Cut) -> Cut:
    """The cut that applies to the tensors after this one."""
    for chunk in chunks(tensor):
        if not cut.ties:
            break
        cut = cut.after(chunk)
    return cut
