"""Loads stored tensors into a module by the module's own ``load_state_dict``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_compress.errors import MismatchError
from lightning_compress.weights import counterparts, load_into, match_state, strip_wrappers


def load_weights(
    module: nn.Module, stored: Mapping[str, Tensor], *, excluded: Iterable[str], strict: bool, source: str
) -> None:
    """Load stored tensors into a module in place.

    A module that overrides ``load_state_dict``, or has hooks that run before it, may rename or reshape tensors. It
    gets the stored tensors under its own names where they have a counterpart, the others as they are, and judges them
    itself. For other modules, arguments and errors are as for :func:`~lightning_compress.weights.load_into`.

    Raises:
        MismatchError: names or shapes differ.
    """
    try:
        if not _converts(module):
            load_into(module, stored, excluded=excluded, strict=strict, source=source)
            return
        module.load_state_dict(_under_own_names(module, stored, excluded), strict=strict)
    except RuntimeError as error:
        if type(error) is not RuntimeError:  # load_state_dict raises no subclass for names and shapes
            raise
        raise MismatchError(f"{source} does not fit the module: {error}") from error


def _converts(module: nn.Module) -> bool:
    """Whether a part of the module handles the tensors in its own way before they are loaded."""
    own = getattr(module.load_state_dict, "__func__", None)
    return own is not nn.Module.load_state_dict or any(part._load_state_dict_pre_hooks for part in module.modules())


def _under_own_names(module: nn.Module, stored: Mapping[str, Tensor], excluded: Iterable[str]) -> dict[str, Tensor]:
    live = module.state_dict()
    own = counterparts(live, stored)
    fitting = {n: stored[n] for n, at in own.items() if is_lazy(live[at]) or stored[n].shape == live[at].shape}
    state = match_state(live, fitting, strict=False)
    state |= {own.get(name, name): tensor for name, tensor in stored.items() if name not in fitting}
    left_out = {strip_wrappers(name) for name in excluded}
    return {n: v for n, v in live.items() if n not in state and strip_wrappers(n) in left_out} | state
