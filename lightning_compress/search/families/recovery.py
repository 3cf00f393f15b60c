"""Recovery: after quantization, a few parameters are tuned by distillation from the exact weights.

The step of each grid (one number a matrix) and the one-dimensional parameters (biases, gains of norms) are trained for
some dozen batches, so that the output distribution comes closer to that of the exact weights (Hinton et al. 2015,
"Distilling the knowledge in a neural network", section 2, at temperature 1; teacher and student are the same model).
These parameters cost no additional bytes. Indices do not change. Labels are not used: training so few parameters on
them moved the outputs away from those of the exact weights and lost BLEU.

No second model is made: exact and quantized weights are loaded into the one module alternately.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lightning_compress.compression.payloads import payloads_of
from lightning_compress.errors import SearchError
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import GridPayload, Payload
from lightning_compress.search.sensitivity.calibration import Distillation, batches_of
from lightning_compress.weights import Weights
from lightning_compress.weights.bindings import Binding, bindings_of, summed_gradient

_LEARNING_RATE = 3e-3  # of Adam; relative for steps, whose logarithm is trained
_BETAS = (0.9, 0.99)
_WARM_UP = 10  # batches


@dataclass(frozen=True, eq=False)
class Recovery:
    """Tunes the payloads of a plan; a function of both.

    Attributes:
        weights: the exact weights.
        module: which has them as parameters.
        calibration: batches, and the module's outputs for them.
        batches: number of batches to train on, in a random but fixed order.
        loaded: context manager that loads the weights, sets evaluation mode, and restores the module at its end.
    """

    weights: Weights
    module: nn.Module
    calibration: Distillation
    batches: int
    loaded: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, plan: Plan, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads with tuned steps and one-dimensional parameters, one for each weight, in order.

        Raises:
            SearchError: a batch fails.
        """
        with self.loaded():
            bindings = bindings_of(self.weights, self.module)
            tuned = {
                weight.name: _TunedTensor(bindings[weight.name], weight.tensor, payload)
                for weight, payload in zip(self.weights, payloads, strict=True)
                if weight.name in bindings and weight.reason is None
            }
            if tuned:
                self._train(list(tuned.values()))
        return self._payloads(plan, payloads, tuned)

    def _train(self, tuned: Sequence[_TunedTensor]) -> None:
        optimizer = torch.optim.Adam([one.trained for one in tuned], lr=_LEARNING_RATE, betas=_BETAS)
        batches = list(batches_of(self.calibration))
        order = random.Random(0)
        queue: list[int] = []
        for number in range(self.batches):
            if not queue:
                queue = order.sample(range(len(batches)), len(batches))
            batch = batches[queue.pop()]
            schedule = min(1.0, (number + 1) / _WARM_UP) * (1 - number / self.batches)
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * schedule
            if self._backward(tuned, batch):
                optimizer.step()

    def _backward(self, tuned: Sequence[_TunedTensor], batch: object) -> bool:
        """Compute the gradients of one batch; False where one is not finite."""
        parameters = [binding.parameter for one in tuned for binding in one.bindings]
        try:
            with torch.no_grad():
                for one in tuned:
                    one.load(one.exact)
                teacher = self.calibration.outputs(self.module, batch).log_softmax(-1)
                for one in tuned:
                    one.load(one.value())
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                student = self.calibration.outputs(self.module, batch).log_softmax(-1)
                loss = divergence(student, teacher) * teacher.shape[-1] / max(teacher.numel(), 1)
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
        except Exception as error:
            raise SearchError(
                f"calibration.outputs failed on a batch with {type(error).__name__}: {error}. It is to return the "
                "scores before the softmax, [..., classes], that gradients flow from. The module is as it was."
            ) from error
        if bool(teacher.isnan().any()):
            raise SearchError(
                "calibration.outputs gives NaN with the exact weights: leave such batches out. The module is as it was."
            )
        gradients = {id(parameter): gradient for parameter, gradient in zip(parameters, found, strict=True)}
        return all(one.set_gradient(gradients) for one in tuned)

    def _payloads(self, plan: Plan, payloads: Sequence[Payload], tuned: Mapping[str, _TunedTensor]) -> list[Payload]:
        """Matrices keep their indices; one-dimensional parameters are quantized again by the plan."""
        one_dimensional = [
            replace(weight, tensor=tuned[weight.name].value().to(weight.tensor))
            for weight in self.weights
            if weight.name in tuned and not tuned[weight.name].is_matrix
        ]
        part = replace(self.weights, weights=tuple(one_dimensional), ties={}, tied_classes={})
        plan = Plan(*(Rule(rule.pattern, *rule.methods, by=rule.by, optional=True) for rule in plan.rules))
        made = {name: one.payload_of_matrix() for name, one in tuned.items() if one.is_matrix}
        made |= zip((weight.name for weight in one_dimensional), payloads_of(part, plan, {}), strict=True)
        return [made.get(weight.name, payload) for weight, payload in zip(self.weights, payloads, strict=True)]


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback–Leibler divergence of the student from the teacher, KL(teacher ‖ student), summed; a scalar.

    Args:
        student: logarithms of probabilities, ``[..., classes]``.
        teacher: likewise; classes of probability 0 (minus infinity) add nothing.
    """
    return (teacher.exp() * (teacher - student)).masked_fill(teacher.isneginf(), 0).sum()


class _TunedTensor:
    """One tensor in training: the change of the logarithm of its step if it is a matrix, its values otherwise."""

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
        """Load these values into the module."""
        for binding in self.bindings:
            binding.load(values)

    @torch.no_grad()
    def value(self) -> Tensor:
        """The weights with the present step or values."""
        return self._restored * self.trained.exp() if self.is_matrix else self.trained.to(self._restored.dtype)

    @torch.no_grad()
    def set_gradient(self, gradients: Mapping[int, Tensor | None]) -> bool:
        """Set the gradient of the trained parameter by the chain rule; False where it is not finite."""
        gradient = summed_gradient(self.bindings, gradients, self.exact.shape)
        self.trained.grad = None
        if gradient is None or (self.is_matrix and not isinstance(self.payload, GridPayload)):
            return True
        self.trained.grad = (gradient.float() * self.value().float()).sum() if self.is_matrix else gradient.float()
        return bool(self.trained.grad.isfinite().all())

    def payload_of_matrix(self) -> Payload:
        """The payload with the tuned step; unchanged where the dtype cannot hold the restored weights."""
        if not isinstance(self.payload, GridPayload):
            return self.payload
        scaled = self.payload.scaled(math.exp(float(self.trained.detach())))
        return scaled if bool(scaled.restore().isfinite().all()) else self.payload
