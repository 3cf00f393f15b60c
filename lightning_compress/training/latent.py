"""Latent weights: a module computes with quantized weights, and the optimizer updates the exact ones.

M. Courbariaux, Y. Bengio and J.-P. David 2015, "BinaryConnect", section 2.3: the gradient at the quantized weights is
applied to the latent weights (straight-through estimator; Bengio, Léonard and Courville 2013, section 4). As in PARQ
(L. Jin et al. 2025) modules stay as they are and parameters are substituted in place, so every parameter can be
quantized, whatever module owns it: LSTM gates, attention projections, embeddings, tied tables.

Between two uses the module holds the latent weights. So a checkpoint holds them, averages of weights are averages of
them, and ``compress(module, plan)`` stores exactly the quantized weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_compress.compression import GuidedPlan, is_lossy
from lightning_compress.compression.fitting import Fitted, fit, pruned_mask
from lightning_compress.errors import PlanError, TrainingError
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import GridGuide
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


class LatentWeights:
    """The latent weights of a module that is trained under a plan.

    Args:
        module: the module. Its parameters must keep their memory, as they do in every training on one or several
            devices without sharding.
        plan: what exports use; a :class:`~lightning_compress.compression.GuidedPlan` for steps of rows.
        refit_every: after how many substitutions the methods are fitted to the latent weights again.
        weights: the weights of the module as exports select them; by default ``Weights.from_module(module)``. Their
            tensors must have the memory of the module's parameters.

    Raises:
        PlanError: the plan does not fit the module, or treats what cannot be trained: a buffer, or factors of low rank;
            a guide feeds errors back.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: Plan | GuidedPlan,
        *,
        refit_every: int = 1,
        weights: Weights | None = None,
    ) -> None:
        self.weights = Weights.from_module(module) if weights is None else weights
        self.guided, self.refit_every = plan if isinstance(plan, GuidedPlan) else GuidedPlan(plan), refit_every
        for name, guide in self.guided.guidance.items():
            if isinstance(guide, GridGuide) and guide.factor is not None:
                raise PlanError(
                    f"the guide of {name!r} feeds errors back, which depends on the weights before the training: give "
                    "GridGuide(exponents) alone"
                )
        self._rules = self.guided.plan.assign(self.weights)
        self.treated = _treated(self.weights, self._rules, module)
        self._latent: dict[str, Tensor] = {}
        self._evaluated: dict[str, Tensor] | None = None
        self._fitted: Fitted | None = None
        self._uses = 0
        self.is_substituted = False

    def substitute(self) -> None:
        """Load the quantized weights into the module, and keep the latent ones; nothing if that is done already.

        Raises:
            TrainingError: a latent weight is NaN or infinite.
        """
        if self.is_substituted:
            return
        if self._fitted is None or self._uses >= self.refit_every:
            self._fitted, self._uses = self.fit(), 0
        self._uses += 1
        fitted = self._fitted
        self._load({each.weight.name: self._quantized(each, fitted) for each in self.treated})

    @torch.no_grad()
    def restore(self) -> None:
        """Load the latent weights into the module again; nothing if they are there."""
        if self.is_substituted:
            for each in self.treated:
                each.weight.tensor.copy_(self._latent[each.weight.name])
            self.is_substituted = False

    @contextmanager
    def quantized(self) -> Iterator[None]:
        """A block in which the module computes with the quantized weights: forward and backward pass of a step."""
        self.substitute()
        try:
            yield
        finally:
            self.restore()

    def substitute_to_evaluate(self, *, is_first: bool) -> None:
        """Load what ``compress(module, plan)`` restores. The fit of the training stays as it is.

        Args:
            is_first: whether weights may have changed since the last call; else its result is used again.
        """
        if self.is_substituted:
            return
        if is_first or self._evaluated is None:
            fitted = self.fit()
            self._evaluated = {each.weight.name: self._quantized(each, fitted) for each in self.treated}
        self._load(self._evaluated)

    def end_evaluation(self) -> None:
        """Free what :meth:`substitute_to_evaluate` keeps."""
        self._evaluated = None

    def forget_fit(self) -> None:
        """Fit the methods anew at the next substitution, as a training that resumes now does."""
        self._fitted = None

    def fit(self) -> Fitted:
        """The methods of the plan, fitted to the latent weights, which must be in the module.

        Raises:
            TrainingError: a latent weight is NaN or infinite.
        """
        for each in self.treated:
            if not bool(torch.isfinite(each.weight.tensor).all()):
                raise TrainingError(
                    f"tensor {each.weight.name!r} has NaN or infinite weights before it is quantized, so they come "
                    "from the loss or from the optimizer: lower the learning rate, or clip gradients"
                )
        return fit(self.weights, self._rules)

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for each in self.treated:
            name, tensor = each.weight.name, each.weight.tensor
            if name in self._latent:
                self._latent[name].copy_(tensor)
            else:
                self._latent[name] = tensor.detach().clone()
            tensor.copy_(values[name])
        self.is_substituted = True

    @torch.no_grad()
    def _quantized(self, treated: Treated, fitted: Fitted) -> Tensor:
        """The values that a file restores of a tensor, whose memory holds the latent weights."""
        weight, rule = treated.weight, treated.rule
        quantizer, cut = fitted.quantizer_of(weight, rule), fitted.cuts.get(weight.name)
        pruned = None if cut is None else pruned_mask(weight.tensor, cut).to(weight.tensor.device)
        if quantizer is not None:
            guide = self.guided.guidance.get(weight.name)
            return quantizer.quantize(weight.tensor, rule.storage, pruned=pruned, guide=guide)
        values = rule.storage.quantize(weight.tensor)
        return values if pruned is None else values.masked_fill_(pruned.reshape(values.shape), 0)


def _treated(weights: Weights, rules: Sequence[Rule | None], module: nn.Module) -> tuple[Treated, ...]:
    """The tensors that the rules change, each with its parameters."""
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
