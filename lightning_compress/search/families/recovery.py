"""Recovery: after rounding, the few parameters that cost nothing are tuned until the model answers as it did.

Steps of grids (one number for each matrix) and vectors (biases, gains of norms) are trained for some dozen batches to
bring the distribution of the answers back to that of the exact weights (Hinton et al. 2015, "Distilling the knowledge
in a neural network", at temperature 1, with the model as its own teacher). Indices stay what they are. Labels are not
used: training so few parameters on them moved the model away from what it was, and lost BLEU.

There is no second model: exact and rounded weights take turns in the one module.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.pipeline.payloads import payloads_of
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import GridPayload, Payload
from lightning_compress.search.sensitivity.calibration import Distillation, batches_of
from lightning_compress.weights import Weights
from lightning_compress.weights.bindings import Binding, bindings_of, summed_gradient

_RATE = 3e-3  # of Adam; for steps it is relative, since their logarithm is tuned
_BETAS = (0.9, 0.99)
_WARM_UP = 10  # batches


@dataclass(frozen=True, eq=False)
class Recovery:
    """Tunes the payloads of a plan.

    Attributes:
        weights: the exact weights.
        module: the module that they are of.
        calibration: batches, and the module's answers to them.
        batches: how many batches to train on, in a random but fixed order.
        loaded: opens a block in which the module is in evaluation mode, and after which it is what it was.
    """

    weights: Weights
    module: nn.Module
    calibration: Distillation
    batches: int
    loaded: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, plan: Plan, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads with other steps and other vectors, one for each weight, in order.

        Raises:
            SearchError: a batch fails.
        """
        with self.loaded():
            bindings = bindings_of(self.weights, self.module)
            tuned = {
                weight.name: _Tuned(bindings[weight.name], weight.tensor, payload)
                for weight, payload in zip(self.weights, payloads, strict=True)
                if weight.name in bindings
            }
            if tuned:
                self._train(list(tuned.values()))
        return self._payloads(plan, payloads, tuned)

    def _train(self, tuned: Sequence[_Tuned]) -> None:
        optimizer = torch.optim.Adam([one.trained for one in tuned], lr=_RATE, betas=_BETAS)
        batches = list(batches_of(self.calibration))
        order = random.Random(0)
        queue: list[int] = []
        for number in range(self.batches):
            if not queue:
                queue = order.sample(range(len(batches)), len(batches))
            batch = batches[queue.pop()]
            rate = min(1.0, (number + 1) / _WARM_UP) * (1 - number / self.batches)
            for group in optimizer.param_groups:
                group["lr"] = _RATE * rate
            if self._backward(tuned, batch):
                optimizer.step()

    def _backward(self, tuned: Sequence[_Tuned], batch: object) -> bool:
        """Take the gradients of one batch; False where they are not finite."""
        parameters = [binding.parameter for one in tuned for binding in one.bindings]
        try:
            with torch.no_grad():
                for one in tuned:
                    one.load(one.exact)
                wanted = self.calibration.outputs(self.module, batch).log_softmax(-1)
                for one in tuned:
                    one.load(one.value())
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                given = self.calibration.outputs(self.module, batch).log_softmax(-1)
                loss = divergence(given, wanted) * wanted.shape[-1] / max(wanted.numel(), 1)
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
        except Exception as error:
            raise SearchError(
                f"calibration.outputs failed on a batch with {type(error).__name__}: {error}. It is to return the "
                "scores before the softmax, [..., classes], that gradients flow from. The module is as it was."
            ) from error
        if bool(wanted.isnan().any()):
            raise SearchError(
                "calibration.outputs gives NaN with the exact weights: leave such batches out. The module is as it was."
            )
        gradients = {id(parameter): gradient for parameter, gradient in zip(parameters, found, strict=True)}
        return all(one.take(gradients) for one in tuned)

    def _payloads(self, plan: Plan, payloads: Sequence[Payload], tuned: Mapping[str, _Tuned]) -> list[Payload]:
        """Matrices keep their indices; vectors are stored anew by the plan."""
        vectors = [
            replace(weight, tensor=tuned[weight.name].value().to(weight.tensor))
            for weight in self.weights
            if weight.name in tuned and not tuned[weight.name].is_matrix
        ]
        part = replace(self.weights, weights=tuple(vectors), ties={}, tied_classes={})
        plan = Plan(*(Rule(rule.pattern, *rule.methods, by=rule.by, optional=True) for rule in plan.rules))
        made = {name: one.payload_of_matrix() for name, one in tuned.items() if one.is_matrix}
        made |= zip((vector.name for vector in vectors), payloads_of(part, plan, {}), strict=True)
        return [made.get(weight.name, payload) for weight, payload in zip(self.weights, payloads, strict=True)]


def divergence(given: Tensor, wanted: Tensor) -> Tensor:
    """Kullback–Leibler divergence of the given from the wanted distributions, summed_gradient; a scalar.

    Args:
        given: logarithms of probabilities, ``[..., classes]``.
        wanted: likewise; classes that are impossible (minus infinity) do not count.
    """
    return (wanted.exp() * (wanted - given)).masked_fill(wanted.isneginf(), 0).sum()


class _Tuned:
    """One tensor in training: the logarithm of its step if it is a matrix on a grid, else its values."""

    def __init__(self, bindings: Sequence[Binding], exact: Tensor, payload: Payload) -> None:
        self.bindings = bindings
        self.exact = exact
        self.payload = payload
        self.is_matrix = exact.squeeze().ndim > 1
        for binding in bindings:
            binding.parameter.requires_grad_(True)
        device = bindings[0].parameter.device
        self._restored = payload.restore().to(device)
        start = torch.zeros(()) if self.is_matrix else self._restored.float().clone()
        self.trained = nn.Parameter(start.to(device), requires_grad=True)

    def load(self, values: Tensor) -> None:
        """Give the module these values."""
        for binding in self.bindings:
            binding.load(values)

    @torch.no_grad()
    def value(self) -> Tensor:
        """The weights as they now are."""
        return self._restored * self.trained.exp() if self.is_matrix else self.trained.to(self._restored.dtype)

    @torch.no_grad()
    def take(self, gradients: Mapping[int, Tensor | None]) -> bool:
        """Turn the gradient of the weights into that of what is trained; False where it is not finite."""
        gradient = summed_gradient(self.bindings, gradients, self.exact.shape)
        self.trained.grad = None
        if gradient is None or (self.is_matrix and not isinstance(self.payload, GridPayload)):
            return True
        self.trained.grad = (gradient.float() * self.value().float()).sum() if self.is_matrix else gradient.float()
        return bool(self.trained.grad.isfinite().all())

    def payload_of_matrix(self) -> Payload:
        """The payload with the tuned step, where the dtype holds what it makes."""
        if not isinstance(self.payload, GridPayload):
            return self.payload
        scaled = self.payload.scaled(math.exp(float(self.trained.detach())))
        return scaled if bool(scaled.restore().isfinite().all()) else self.payload
