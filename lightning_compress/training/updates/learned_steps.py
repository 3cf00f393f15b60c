"""LSQ: the steps of grids are parameters, trained with the loss.

S. K. Esser et al. 2020, "Learned step size quantization", equation 3: the derivative of a quantized weight by its step
is round(w / s) − w / s, since no weight of a :class:`Grid` is clipped. By the logarithm of the step it is the error
q − w itself, with offsets of columns too. So the derivative of the loss by the logarithm of a row's step is the sum of
gradient · error over the row. Logarithms keep steps positive, and give all of them changes of like shares.

A grid without ends has as many bits as its indices need, so the loss alone would make every step smaller and the file
larger. Two things prevent that. Beside a penalty on the rate, steps have the gradient of the rate too. Without one, the
mean logarithm of the steps over all weights stays: the bits stay about the same, and go where the loss needs them (Y.
Shoham and A. Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers").

Esser et al. divide the gradient by √(weights · largest index) for the latter (section 2.2), with the SGD that trains
their weights. Adam (D. Kingma and J. Ba 2015) divides each gradient by its own size, which makes such a factor without
effect; here the learning rate is the share by which a step changes in one optimizer step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lightning_compress.errors import PlanError, TrainingError
from lightning_compress.quantize import Grid, GridGuide, matrix_shape, row_scales
from lightning_compress.training.updates.treated import Treated
from lightning_compress.weights import summed_gradient

_UNIT = math.log(2) / 32  # of an exponent, in natural logarithms
_BELOW, _ABOVE = 127, 128  # exponents of a tensor are at most 255 apart
_FEWEST = 16  # columns; shorter rows would pay more for a step of their own than they gain


@dataclass(frozen=True)
class LearnedSteps:
    """How the steps of the grids of a plan are trained.

    Attributes:
        learning_rate: the largest share by which a step changes in one optimizer step, about; it falls to 0 by a cosine
            over the training, where the length of the training is known.
        scope: a step for each ``row`` (of at least 16 weights, else for the tensor), or one for each ``tensor``.

    Raises:
        PlanError: a value out of range.
    """

    learning_rate: float = 0.01
    scope: Literal["row", "tensor"] = "row"

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 0.5:
            raise PlanError(f"LearnedSteps: learning_rate is {rate!r}, expected a share above 0, up to 0.5")
        if self.scope not in get_args(Literal["row", "tensor"]):
            raise PlanError(f"LearnedSteps: scope is {self.scope!r}, expected 'row' or 'tensor'")


def learned_steps_of(learn: LearnedSteps | bool) -> LearnedSteps | None:
    """True as the settings that it stands for, False as None, and settings as they are.

    Raises:
        PlanError: neither of these.
    """
    if isinstance(learn, LearnedSteps):
        return learn
    if not isinstance(learn, bool):
        raise PlanError(f"learn_steps is {learn!r}, expected True, False or LearnedSteps(…)")
    return LearnedSteps() if learn else None


class StepTraining:
    """The steps of a plan's grids while they are trained.

    Args:
        settings: how they are trained.
        treated: the tensors of the module.
        guidance: the exponents of rows that the training starts with, by tensor; those of other tensors start at 0.

    Attributes:
        guidance: tensor name → its guide, with the exponents as they are now; changes in place.
        keeps_mean: whether the mean logarithm of the steps stays; set to False by what adds the gradient of a rate.

    Raises:
        PlanError: no rule has a grid whose step can be learned, or a rule has another grid.
    """

    def __init__(self, settings: LearnedSteps, treated: Iterable[Treated], guidance: Mapping[str, object]) -> None:
        self._settings = settings
        self._tensors = {each.weight.name: each for each in treated if isinstance(each.rule.quantizer, Grid)}
        if not self._tensors:
            raise PlanError("learn_steps needs a rule with Grid, such as Grid(0.05, trellis=0, rate_weight=0)")
        self._centres: dict[str, int] = {}
        self._logarithms: dict[str, Tensor] = {}
        for name, each in self._tensors.items():
            _check_grid(each.rule.quantizer)
            guide = guidance.get(name)
            given = guide.exponents if isinstance(guide, GridGuide) else None
            rows = matrix_shape(tuple(each.weight.tensor.shape))[0]
            exponents = torch.zeros(rows, dtype=torch.int32) if given is None else given
            self._centres[name] = (int(exponents.min()) + int(exponents.max())) // 2
            self._logarithms[name] = exponents.float() * _UNIT
        self.keeps_mean = True
        self._gradients: dict[str, Tensor] = {}
        self._optimizer = torch.optim.Adam(list(self._logarithms.values()), lr=settings.learning_rate)
        self.guidance: dict[str, object] = dict(guidance)
        self._round()

    def scales(self, name: str) -> Tensor:
        """``[rows]`` float64: the step of each row of a tensor."""
        treated, guide = self._tensors[name], self.guidance[name]
        assert isinstance(treated.rule.quantizer, Grid)
        assert isinstance(guide, GridGuide)
        rows = matrix_shape(tuple(treated.weight.tensor.shape))[0]
        return row_scales(treated.rule.quantizer.step, guide.exponents, rows)

    @torch.no_grad()
    def add_loss_gradients(self, latent: Mapping[str, Tensor]) -> None:
        """Add the gradients of the loss, from those of the parameters, which have the weights of the step.

        Args:
            latent: tensor name → its latent weights.
        """
        for name, each in self._tensors.items():
            tensor = each.weight.tensor
            gradients = {id(binding.parameter): binding.parameter.grad for binding in each.bindings}
            gradient = summed_gradient(each.bindings, gradients, tensor.shape)
            if gradient is not None:
                self.add(name, gradient * (tensor - latent[name]))

    def add(self, name: str, gradient: Tensor) -> None:
        """Add to the gradient of a tensor's steps.

        Args:
            name: of the tensor; any other than of a grid is ignored.
            gradient: one for each weight, of the tensor's shape; their sum over a row is that of the row's step.
        """
        if name not in self._tensors:
            return
        rows, columns = matrix_shape(tuple(gradient.shape))
        sums = gradient.reshape(rows, columns).sum(1, dtype=torch.float32).cpu()
        if self._settings.scope == "tensor" or columns < _FEWEST:
            sums = sums.sum().expand(rows)
        known = self._gradients.get(name)
        self._gradients[name] = sums.clone() if known is None else known + sums

    @torch.no_grad()
    def update(self, parameters: Collection[int], progress: float) -> None:
        """Train the steps of the tensors that an optimizer trains, and forget the gradients.

        A gradient that is not finite changes nothing: a loss scaler then leaves out the step of the weights too, and
        without one the weights become NaN, which names the tensor.

        Args:
            parameters: ``id`` of the parameters of the optimizer.
            progress: the part of the training that is done, 0 to 1.
        """
        for name, logarithms in self._logarithms.items():
            gradient = self._gradients.pop(name, None)
            is_trained = any(id(binding.parameter) in parameters for binding in self._tensors[name].bindings)
            is_finite = gradient is not None and bool(torch.isfinite(gradient).all())
            logarithms.grad = gradient if is_trained and is_finite else None
        rate = self._settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if self.keeps_mean:
            self._centre_gradients()
        before = {name: each.clone() for name, each in self._logarithms.items() if each.grad is not None}
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.keeps_mean and before:
            self._keep_mean(before)
        self._round()

    def _sizes(self, names: Iterable[str]) -> dict[str, float]:
        """Weights in a row of each tensor."""
        return {name: self._tensors[name].weight.tensor.numel() / len(self._logarithms[name]) for name in names}

    def _centre_gradients(self) -> None:
        """Take away the part of the gradients that makes all steps smaller or larger alike."""
        gradients = {name: each.grad for name, each in self._logarithms.items() if each.grad is not None}
        sizes = self._sizes(gradients)
        mean = sum(float(gradient.sum()) for gradient in gradients.values())
        mean /= max(1.0, sum(sizes[name] * len(gradient) for name, gradient in gradients.items()))
        for name, gradient in gradients.items():
            self._logarithms[name].grad = gradient - sizes[name] * mean

    def _keep_mean(self, before: Mapping[str, Tensor]) -> None:
        """Shift the steps that were trained, so that their mean logarithm over all weights is that of ``before``."""
        sizes = self._sizes(before)
        change = sum(sizes[name] * float((self._logarithms[name] - rows).sum()) for name, rows in before.items())
        weights = sum(sizes[name] * len(rows) for name, rows in before.items())
        for name in before:
            self._logarithms[name] -= change / weights

    def _round(self) -> None:
        """Take the exponents nearest to the steps; those stay within the range that a file holds."""
        for name, logarithms in self._logarithms.items():
            centre = self._centres[name]
            logarithms.clamp_((centre - _BELOW) * _UNIT, (centre + _ABOVE) * _UNIT)
            self.guidance[name] = GridGuide((logarithms / _UNIT).round().to(torch.int32))

    def state_dict(self) -> dict[str, Any]:
        """The steps and the state of their optimizer."""
        logarithms = {name: tensor.clone() for name, tensor in self._logarithms.items()}
        return {"logarithms": logarithms, "centres": dict(self._centres), "optimizer": self._optimizer.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the steps of a checkpoint.

        Raises:
            TrainingError: they are steps of other tensors.
        """
        found = {name: tuple(tensor.shape) for name, tensor in state["logarithms"].items()}
        own = {name: tuple(tensor.shape) for name, tensor in self._logarithms.items()}
        if found != own:
            names = ", ".join(sorted(name for name in {*found, *own} if found.get(name) != own.get(name)))
            raise TrainingError(
                f"the checkpoint has learned steps of other tensors; these differ: {names:.200}. Resume with the plan "
                "and the module of that training"
            )
        self._centres = dict(state["centres"])
        for name, logarithms in self._logarithms.items():
            logarithms.copy_(state["logarithms"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._round()


def _check_grid(grid: object) -> None:
    """Raise a PlanError for a grid whose nearest points are not those it takes, or whose step follows the weights."""
    assert isinstance(grid, Grid)
    if grid.trellis or grid.rate_weight or grid.relative:
        raise PlanError(
            f"learn_steps trains the step of {grid}, which takes points by paths or rates, or a step that follows the "
            "weights: write trellis=0, rate_weight=0, relative=False"
        )
