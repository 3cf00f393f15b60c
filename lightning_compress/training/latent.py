"""Latent weights: a module computes with quantized weights, and the optimizer updates the exact ones.

M. Courbariaux, Y. Bengio and J.-P. David 2015, "BinaryConnect", section 2.3: the gradient at the quantized weights is
applied to the latent weights (straight-through estimator; Bengio, Léonard and Courville 2013, section 4). As in PARQ
(L. Jin et al. 2025) modules stay as they are and parameters are substituted in place, so every parameter can be
quantized, whatever module owns it: LSTM gates, attention projections, embeddings, tied tables.

Between two uses the module holds the latent weights. So a checkpoint holds them, averages of weights are averages of
them, and ``compress(module, plan)`` stores exactly the quantized weights.

The difference of both is the error that A. F. Aji and K. Heafield 2020, "Compressing neural machine translation models
with 4-bit precision", section 4, keep from each step and add before the next one: quantized weights + error are the
latent weights, so it is the same recursion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_compress.compression import GuidedPlan
from lightning_compress.compression.fitting import Fitted, fit, pruned_mask
from lightning_compress.errors import PlanError
from lightning_compress.plan import Plan
from lightning_compress.quantize import GridGuide
from lightning_compress.training.shared import check_finite
from lightning_compress.training.updates.learned_steps import StepTraining
from lightning_compress.training.updates.settings import StepSettings
from lightning_compress.training.updates.treated import Treated, treated_tensors
from lightning_compress.weights import Weights


class LatentWeights:
    """The latent weights of a module that is trained under a plan.

    Args:
        module: the module. Its parameters must keep their memory, as they do in every training on one or several
            devices without sharding.
        plan: what exports use; a :class:`~lightning_compress.compression.GuidedPlan` for steps of rows.
        refit_every: after how many substitutions the methods are fitted to the latent weights again.
        weights: the weights of the module as exports select them; by default ``Weights.from_module(module)``. Their
            tensors must have the memory of the module's parameters.
        settings: what a step does besides quantizing all weights. Where that depends on the step, call
            :meth:`begin_step` before each.

    Attributes:
        guided: what exports use. With learned steps its guidance changes in place.
        steps: the learned steps; None where steps are not learned.
        treated: the tensors that the plan changes.

    Raises:
        PlanError: the plan does not fit the module, or treats what cannot be trained: a buffer, or factors of low rank;
            a guide feeds errors back; a setting does not fit the plan.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: Plan | GuidedPlan,
        *,
        refit_every: int = 1,
        weights: Weights | None = None,
        settings: StepSettings | None = None,
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
        self.treated = treated_tensors(self.weights, self._rules, module)
        settings = settings or StepSettings()
        self._update, self._noise, learned = settings.update, settings.noise, settings.learn_steps
        self.steps = StepTraining(learned, self.treated, self.guided.guidance) if learned else None
        if self.steps is not None:
            self.guided = GuidedPlan(self.guided.plan, self.steps.guidance)
        self._step, self._progress = 0, 0.0
        self._latent: dict[str, Tensor] = {}
        self._evaluated: dict[str, Tensor] | None = None
        self._fitted: Fitted | None = None
        self._uses = 0
        self.is_substituted = False

    def begin_step(self, step: int, steps: float) -> None:
        """Say which optimizer step comes next, of how many; infinitely many where that is not known."""
        self._step, self._progress = step, min(1.0, step / max(steps, 1))

    def substitute(self) -> None:
        """Load the weights to compute with into the module, and keep the latent ones; nothing if that is done already.

        These are the quantized ones, or what the update and the noise make of both.

        Raises:
            TrainingError: a latent weight is NaN or infinite.
        """
        if self.is_substituted:
            return
        if self._fitted is None or self._uses >= self.refit_every:
            self._fitted, self._uses = self.fit(), 0
        self._uses += 1
        self._load(self._used(self._fitted))

    @torch.no_grad()
    def end_step(self) -> None:
        """Load the latent weights, which an optimizer is about to update; add the gradients of the methods.

        The parameters must have the gradients of the loss.
        """
        if not self.is_substituted:
            return
        if self.steps is not None:
            self.steps.add_loss_gradients(self._latent)
        self.restore()
        self._add_penalty(self._update.strength(self._progress))

    def train_steps(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the learned steps of the tensors of an optimizer; nothing where steps are not learned."""
        if self.steps is not None:
            groups = optimizer.param_groups
            parameters = {id(parameter) for group in groups for parameter in group["params"]}
            self.steps.update(parameters, self._progress)

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
        try:
            self.substitute()
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
        self._load(self._evaluated.values())

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
            check_finite(each.weight.name, each.weight.tensor, "quantized")
        return fit(self.weights, self._rules)

    def _used(self, fitted: Fitted) -> Iterator[Tensor]:
        """The weights that the next forward pass computes with, tensor by tensor."""
        generators: dict[torch.device, torch.Generator] = {}
        for each in self.treated:
            latent = each.weight.tensor
            values = self._update.used(latent, self._quantized(each, fitted), self._progress)
            if self._noise is not None:
                generator = generators.setdefault(latent.device, self._noise.generator(self._step, latent.device))
                values = torch.where(self._noise.choose(latent, generator), values, latent)
            yield values

    def _add_penalty(self, strength: float) -> None:
        """Add the gradient of strength/2 · ‖latent − quantized‖² to that of the parameters that have one."""
        if not strength or self._fitted is None:
            return
        for each in self.treated:
            binding = each.bindings[0]
            if binding.parameter.grad is not None:
                distance = each.weight.tensor - self._quantized(each, self._fitted)
                distance = distance if binding.tie is None else binding.tie.view(distance)
                binding.parameter.grad.add_(distance, alpha=strength)

    @torch.no_grad()
    def _load(self, values: Iterable[Tensor]) -> None:
        """Keep the latent weights, and load others, one tensor at a time. Where that fails, all are kept."""
        for each in self.treated:
            name, tensor = each.weight.name, each.weight.tensor
            if name in self._latent:
                self._latent[name].copy_(tensor)
            else:
                self._latent[name] = tensor.detach().clone()
        self.is_substituted = True
        for each, value in zip(self.treated, values, strict=True):
            each.weight.tensor.copy_(value)

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
