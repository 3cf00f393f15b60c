"""LayerDrop: layers of a stack that are skipped at random while a module trains, so that it can do without some."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.structures.registry import check_found, structures_of
from lightning_compress.training.structures.structure import Structure
from lightning_compress.weights import matches_any


class LayerSkips:
    """Skips each layer of a module's stacks with the same probability, in each forward pass of its training.

    A. Fan, E. Grave and A. Joulin 2020, "Reducing Transformer Depth on Demand with Structured Dropout" (LayerDrop),
    section 3.1. A skipped layer gives what it reads, and gets no gradient. Numbers are drawn from a generator of their
    own, so those of the module stay as they are.

    Args:
        module: the module; its layers get hooks until :meth:`remove`.
        share: the probability, 0 to 1.
        patterns: names of the stacks, such as ``["encoder.*"]``; None for all that are known.
        seed: of the generator.

    Raises:
        TrainingError: there is no such stack, or its layers compute again in the backward pass.
    """

    def __init__(
        self, module: nn.Module, share: float, patterns: Sequence[str] | None = None, *, seed: int = 0
    ) -> None:
        self.share = share
        self.generator = torch.Generator().manual_seed(seed)
        stacks = [each for each in structures_of(module, "layer") if each.container is not None]
        stacks = [each for each in stacks if patterns is None or matches_any(patterns, each.name)]
        check_found(stacks, module, "layer")
        self.layers = {name: layer for stack in stacks for name, layer in _layers(stack)}
        for name, layer in self.layers.items():
            if getattr(layer, "gradient_checkpointing", False):
                raise TrainingError(
                    f"layer {name!r} computes again in the backward pass, where other layers would be skipped: turn "
                    "gradient checkpointing off"
                )
        hooks = [(layer, self._hook(name)) for name, layer in self.layers.items()]
        self._handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer, hook in hooks]

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[object, ...], Mapping[str, object], object], object]:
        def skip(layer: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object], output: object) -> object:
            if not (layer.training and torch.is_grad_enabled()):
                return None
            if float(torch.rand((), generator=self.generator)) >= self.share:
                return None
            return _unchanged(name, [*args, *kwargs.values()], output)

        return skip


def _layers(stack: Structure) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of the layers that others do not need."""
    assert stack.container is not None
    sizes = stack.sizes()
    yield from ((f"{stack.name}.{unit}", layer) for unit, layer in enumerate(stack.container) if sizes[unit])


def _unchanged(name: str, inputs: Sequence[object], output: object) -> object:
    """The output of a layer, with what the layer reads in place of what it computes."""
    first = output[0] if isinstance(output, tuple) and output else output
    hidden = next((each for each in inputs if isinstance(each, Tensor)), None)
    if not isinstance(first, Tensor) or hidden is None or hidden.shape != first.shape:
        raise TrainingError(
            f"layer {name!r} does not give a tensor of the shape of the one that it reads, so it cannot be skipped: "
            "name other stacks"
        )
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden
