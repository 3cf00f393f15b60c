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

from lightning_compress.compression import payloads_of
from lightning_compress.errors import SearchError
from lightning_compress.plan import Plan
from lightning_compress.quantize import GridPayload, Payload
from lightning_compress.search.calibration import Distillation
from lightning_compress.weights import Weights

_RATE = 1e-3  # of Adam; for steps it is relative, since their logarithm is tuned
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
            parameters = dict(self.module.named_parameters())
            tuned = [
                _Tuned(parameters[weight.name], weight.tensor, payload)
                for weight, payload in zip(self.weights, payloads, strict=True)
                if weight.name in parameters and parameters[weight.name].is_floating_point()
            ]
            self._train(tuned)
        return self._payloads(plan, payloads, {id(one.payload): one for one in tuned})

    def _train(self, tuned: Sequence[_Tuned]) -> None:
        optimizer = torch.optim.Adam([one.trained for one in tuned], lr=_RATE, betas=_BETAS)
        batches = list(self.calibration)
        order = random.Random(0)
        queue: list[int] = []
        for number in range(self.batches):
            if not queue:
                queue = order.sample(range(len(batches)), len(batches))
            batch = batches[queue.pop()]
            rate = min(1.0, (number + 1) / _WARM_UP) * (1 - number / self.batches)
            for group in optimizer.param_groups:
                group["lr"] = _RATE * rate
            self._backward(tuned, batch)
            optimizer.step()

    def _backward(self, tuned: Sequence[_Tuned], batch: object) -> None:
        """Gradients of one batch, for what is tuned."""
        try:
            with torch.no_grad():
                for one in tuned:
                    one.parameter.copy_(one.exact)
                wanted = self.calibration.outputs(self.module, batch).log_softmax(-1)
                for one in tuned:
                    one.parameter.copy_(one.value())
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                given = self.calibration.outputs(self.module, batch).log_softmax(-1)
                divergence = nn.functional.kl_div(given, wanted, log_target=True, reduction="sum")
                loss = divergence * wanted.shape[-1] / max(wanted.numel(), 1)
                gradients = torch.autograd.grad(loss, [one.parameter for one in tuned], allow_unused=True)
        except Exception as error:
            raise SearchError(
                f"calibration.outputs failed on a batch with {type(error).__name__}: {error}. The module is as it was."
            ) from error
        for one, gradient in zip(tuned, gradients, strict=True):
            one.take(gradient)

    def _payloads(self, plan: Plan, payloads: Sequence[Payload], tuned: Mapping[int, _Tuned]) -> list[Payload]:
        """Matrices keep their indices; vectors are stored anew by the plan."""
        vectors = [
            replace(weight, tensor=tuned[id(payload)].value().to(weight.tensor))
            for weight, payload in zip(self.weights, payloads, strict=True)
            if id(payload) in tuned and not tuned[id(payload)].is_matrix
        ]
        part = replace(self.weights, weights=tuple(vectors), ties={}, tied_classes={})
        stored = dict(zip((v.name for v in vectors), payloads_of(part, plan, {}), strict=True))
        return [
            tuned[id(payload)].payload_of_matrix()
            if id(payload) in tuned and tuned[id(payload)].is_matrix
            else stored.get(weight.name, payload)
            for weight, payload in zip(self.weights, payloads, strict=True)
        ]


class _Tuned:
    """One parameter in training: the logarithm of its step if it is a matrix on a grid, else its values."""

    def __init__(self, parameter: nn.Parameter, exact: Tensor, payload: Payload) -> None:
        self.parameter = parameter.requires_grad_(True)
        self.exact = exact
        self.payload = payload
        self.is_matrix = exact.squeeze().ndim > 1
        self._restored = payload.restore().to(parameter.device)
        start = torch.zeros(()) if self.is_matrix else self._restored.float().clone()
        self.trained = nn.Parameter(start.to(parameter.device), requires_grad=True)

    @torch.no_grad()
    def value(self) -> Tensor:
        """The weights as they now are."""
        return self._restored * self.trained.exp() if self.is_matrix else self.trained.to(self._restored.dtype)

    @torch.no_grad()
    def take(self, gradient: Tensor | None) -> None:
        """Turn the gradient of the weights into that of what is trained."""
        if gradient is None or (self.is_matrix and not isinstance(self.payload, GridPayload)):
            self.trained.grad = None
        elif self.is_matrix:
            self.trained.grad = (gradient * self.value()).sum().float()
        else:
            self.trained.grad = gradient.float().clone()

    def payload_of_matrix(self) -> Payload:
        """The payload with the tuned step."""
        if not isinstance(self.payload, GridPayload):
            return self.payload
        return self.payload.scaled(math.exp(self.trained.item()))
