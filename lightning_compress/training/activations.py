"""Fake quantization of activations: modules compute with inputs that have as many values as whole numbers of few bits.

O. Zafrir et al. 2019, "Q8BERT: Quantized 8Bit BERT", section 2: symmetric linear quantization, with a range that is the
exponential moving average of the largest magnitude, and the straight-through estimator. As in B. Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", section 3.1, values
beyond the range are clipped, and have no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from lightning_compress.errors import TrainingError
from lightning_compress.weights import matches_any

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TYPES = (nn.Linear, nn.Bilinear, *_CONVOLUTIONS, nn.RNNBase, nn.RNNCellBase)
_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.MultiheadAttention: ("query", "key", "value"),
    nn.Bilinear: ("input1", "input2"),
}
_INPUT = ("input",)


class QuantizedInputs:
    """Quantizes the inputs of a module's linear, convolutional, recurrent and attention modules.

    Inputs of an embedding are numbers of words, and what an embedding gives is the input of another module. Hidden
    states within a recurrent layer, and scores and results within ``nn.MultiheadAttention``, stay as they are.
    Arguments of an attention that are one tensor have one range, that of the first.

    Args:
        module: its modules get hooks until :meth:`remove`.
        bits: of the whole numbers, 2 to 16.
        decay: of the moving averages, 0 to below 1.
        patterns: names of the modules, of any type, such as ``["encoder.*"]``; None for all of these types.
        exclude: names of modules to leave out.

    Attributes:
        is_active: whether inputs are quantized; otherwise their ranges are measured alone.

    Raises:
        TrainingError: there is no such module.
    """

    def __init__(
        self,
        module: nn.Module,
        bits: int = 8,
        *,
        decay: float = 0.99,
        patterns: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        self.is_active = True
        self._largest, self._decay = (1 << (bits - 1)) - 1, decay
        chosen = {
            name: each
            for name, each in module.named_modules()
            if (isinstance(each, (*_TYPES, nn.MultiheadAttention)) if patterns is None else matches_any(patterns, name))
            and not matches_any(exclude, name)
        }
        if not chosen:
            names = sorted({type(each).__name__ for each in module.modules()})
            raise TrainingError(
                f"there is no module whose inputs could be quantized; the module has {', '.join(names):.300}. Name "
                "modules by patterns such as ['encoder.*']"
            )
        self._ranges: dict[str, Tensor] = {}
        self._seen: dict[str, Tensor] = {}
        self._handles = [self._attach(name, each) for name, each in chosen.items()]
        self._names = [key for name, each in chosen.items() for key in _keys(name, each).values()]

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def end_batch(self, largest_of_all: Callable[[Tensor], Tensor] | None = None) -> None:
        """Let the ranges follow the inputs of the training since the last call.

        Args:
            largest_of_all: the largest value over all processes of each element of a tensor; None for one process.

        Raises:
            TrainingError: an input was NaN or infinite.
        """
        if not self._seen and largest_of_all is None:
            return
        device = next(iter(self._seen.values())).device if self._seen else torch.device("cpu")
        unseen = torch.tensor(-1.0, device=device)
        seen = torch.stack([self._seen.get(name, unseen) for name in self._names])
        seen = seen.nan_to_num(nan=math.inf, posinf=math.inf)  # of which a maximum over processes takes notice
        for name, value in zip(self._names, (largest_of_all or _own)(seen), strict=True):
            known = self._ranges.get(name)
            if math.isinf(value):
                raise TrainingError(
                    f"the input of {name!r} was NaN or infinite before it was quantized, so that comes from the "
                    "modules before it or from the data: lower the learning rate, or look at the batch"
                )
            if value >= 0:
                self._ranges[name] = value if known is None else known.to(value.device).lerp(value, 1 - self._decay)
        self._seen = {}

    def state_dict(self) -> dict[str, float]:
        """The largest magnitude of each input, in the order of the modules."""
        return {name: float(self._ranges[name]) for name in self._names if name in self._ranges}

    def load_state_dict(self, ranges: Mapping[str, float]) -> None:
        """Continue with these ranges.

        Raises:
            TrainingError: one is of a module that is not there, or no finite number from 0.
        """
        for name, value in ranges.items():
            if name not in self._names:
                raise TrainingError(
                    f"there is a range of {name!r}, whose input is not quantized here: use the same module"
                )
            if not 0 <= value < math.inf:
                raise TrainingError(f"the range of {name!r} is {value}, expected a finite number from 0")
        self._ranges = {name: torch.tensor(value, dtype=torch.float32) for name, value in ranges.items()}

    def _attach(self, name: str, module: nn.Module) -> RemovableHandle:
        keys = _keys(name, module)

        def hook(
            called: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if called is not module:  # a copy, such as a teacher, has the hooks of its original
                return args, kwargs
            done: dict[int, Any] = {}  # attention looks whether query, key and value are the same tensor

            def quantized(key: str, value: Any) -> Any:
                if id(value) not in done:
                    done[id(value)] = self._quantized(key, value, module.training)
                return done[id(value)]

            named = list(keys.items())
            positional = [quantized(named[i][1], each) if i < len(named) else each for i, each in enumerate(args)]
            by_name = {each: quantized(keys[each], value) if each in keys else value for each, value in kwargs.items()}
            return tuple(positional), by_name

        return module.register_forward_pre_hook(hook, with_kwargs=True)

    def _quantized(self, key: str, value: Any, is_training: bool) -> Any:
        """An input with few values; anything but a floating-point tensor as it is."""
        if isinstance(value, PackedSequence):
            data = self._quantized(key, value.data, is_training)
            return PackedSequence(data, value.batch_sizes, value.sorted_indices, value.unsorted_indices)
        if not (isinstance(value, Tensor) and value.is_floating_point() and value.numel()):
            return value
        limit = self._ranges.get(key)
        if is_training:
            largest = value.detach().abs().amax().float()
            known = self._seen.get(key)
            self._seen[key] = largest if known is None else torch.maximum(known, largest)
            limit = largest if limit is None else limit
        return value if limit is None or not self.is_active else fake_quantized(value, limit, self._largest)


def fake_quantized(values: Tensor, limit: Tensor, largest: int) -> Tensor:
    """The nearest multiples of ``limit / largest`` within ``limit``; the gradient is 1 there, and 0 beyond it.

    Args:
        values: of any shape.
        limit: one number from 0, the largest magnitude.
        largest: the whole number that stands for it.
    """
    limit = limit.to(values).clamp(min=torch.finfo(values.dtype).tiny * largest)
    inside = torch.minimum(torch.maximum(values, -limit), limit)
    return inside + ((inside * (largest / limit)).round() * (limit / largest) - inside).detach()


def _keys(name: str, module: nn.Module) -> dict[str, str]:
    """Argument of a module → the name of its range, in the order of the arguments."""
    arguments = next((found for kind, found in _ARGUMENTS.items() if isinstance(module, kind)), _INPUT)
    return {argument: name if arguments is _INPUT else f"{name}.{argument}" for argument in arguments}


def _own(values: Tensor) -> Tensor:
    return values
