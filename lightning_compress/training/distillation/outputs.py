"""What modules give in their forward passes: hidden states and attention maps, collected by hooks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from lightning_compress.errors import TrainingError, did_you_mean
from lightning_compress.training.structures.smaller_attention import SmallerAttention

_ARGUMENTS = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights")
_LEAST_DIMENSIONS = 3  # batch, channels, and one more


def output_tensor(output: object) -> Tensor:
    """The tensor of a module's output: itself, its ``logits``, or the first of several.

    Raises:
        TrainingError: there is none.
    """
    found = getattr(output, "logits", output)
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise TrainingError(f"a module gives {type(output).__name__}, expected a tensor, a tuple of them, or .logits")
    return found


def attention_map(output: object) -> Tensor:
    """The attention map ``[batch, heads, queries, keys]`` of a module's output: the last of several, or itself.

    So it is for ``nn.MultiheadAttention``, for the attentions of ``transformers``, and for an ``nn.Softmax`` inside an
    attention of your own. Features ``[batch, channels, …]`` of a convolution are taken too.

    Raises:
        TrainingError: there is none.
    """
    found = output[-1] if isinstance(output, (tuple, list)) and output else output
    if isinstance(found, Tensor) and found.dim() >= _LEAST_DIMENSIONS:
        return found
    raise TrainingError(
        f"an attention gives no map [batch, heads, queries, keys]: its output is a {type(output).__name__}. Name the "
        "module that computes the attention; one of transformers has maps with attn_implementation='eager'"
    )


def module_named(module: nn.Module, name: str) -> nn.Module:
    """The module of this name inside another.

    Raises:
        TrainingError: there is none.
    """
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        known = [other for other, _ in module.named_modules() if other]
        raise TrainingError(
            f"{type(module).__name__} has no module {name!r}{did_you_mean(name, known)}; it has {', '.join(known[:8])}"
        ) from error


class Outputs:
    """Collects what modules give in their forward passes.

    Args:
        modules: name → module.
        when: whether a forward pass counts.
        maps: collect attention maps, not hidden states. ``nn.MultiheadAttention`` is asked for its weights.
    """

    def __init__(
        self, modules: dict[str, nn.Module], when: Callable[[], bool] = lambda: True, *, maps: bool = False
    ) -> None:
        self._found: dict[str, Tensor] = {}
        self._when = when
        self._read = attention_map if maps else output_tensor
        self._handles = [module.register_forward_hook(partial(self._collect, name)) for name, module in modules.items()]
        if maps:
            asked = [each for each in modules.values() if isinstance(each, (nn.MultiheadAttention, SmallerAttention))]
            self._handles += [each.register_forward_pre_hook(self._ask, with_kwargs=True) for each in asked]

    def _collect(self, name: str, _: nn.Module, __: object, output: object) -> None:
        if self._when():
            try:
                self._found[name] = self._read(output)
            except TrainingError as error:
                raise TrainingError(f"module {name!r}: {error}") from error

    def _ask(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with which an attention gives the weights of each head."""
        if not self._when():
            return args, kwargs
        named = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
        return (), named | {"need_weights": True, "average_attn_weights": False}

    def take(self) -> dict[str, Tensor]:
        """Name → the newest output of the module; then there is none."""
        found, self._found = self._found, {}
        return found

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
