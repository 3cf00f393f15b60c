"""Work for one rank, and weights that lie on several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from lightning_compress.errors import CallbackError

_SHARDS = frozenset({"FullyShardedDataParallel", "DTensor", "FlatParameter"})


def on_rank_zero(strategy: Any, work: Callable[[], None]) -> None:
    """Do ``work`` on rank 0; if it fails there, raise on every rank, so that none waits for one that is gone.

    To be called on every rank. An error raised before the next barrier on one rank alone would leave the
    others in that barrier until the process group times out.

    Raises:
        Exception: on rank 0, what ``work`` raised.
        CallbackError: on the other ranks, with its text.
    """
    failure: Exception | None = None
    if strategy.is_global_zero:
        try:
            work()
        except Exception as error:
            failure = error
    text = strategy.broadcast(None if failure is None else f"{type(failure).__name__}: {failure}", src=0)
    if failure is not None:
        raise failure
    if text is not None:
        raise CallbackError(f"rank 0 failed, so this rank stops too. There: {text}")


@torch.no_grad()
def gather(strategy: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict with its shards put together: whole on rank 0, empty on the others where it was sharded.

    To be called on every rank, with that rank's state dict. One tensor after another is gathered, so no rank
    holds more than rank 0's copy in main memory and one whole tensor on its device.

    Raises:
        CallbackError: the parameters are split by DeepSpeed's stage 3, whose state dict holds placeholders.
    """
    _refuse_placeholders(strategy.lightning_module)
    if any(_is_flat_shard(value) for value in state.values()):
        return whole_state(strategy)
    if not any(_is_shard(value) for value in state.values()):
        return dict(state)
    whole: dict[str, Any] = {}
    for name, value in state.items():
        tensor = value.full_tensor() if _is_shard(value) else value
        if strategy.is_global_zero:
            whole[name] = tensor.cpu() if isinstance(tensor, Tensor) else tensor
    return whole


def whole_state(strategy: Any) -> dict[str, Any]:
    """The live state dict of a sharded model: whole on rank 0, empty on the others. To be called on every rank."""
    # Offloading what is in main memory already crashes there, in torch 2.13 for one.
    offload = strategy.root_device.type != "cpu"
    options = StateDictOptions(full_state_dict=True, cpu_offload=offload)
    return dict(get_model_state_dict(strategy.model, options=options))


def _is_shard(value: object) -> bool:
    return hasattr(value, "full_tensor")


def _is_flat_shard(value: object) -> bool:
    return type(value).__name__ == "ShardedTensor"


def _refuse_placeholders(module: torch.nn.Module) -> None:
    for name, parameter in module.named_parameters():
        whole = getattr(parameter, "ds_numel", parameter.numel())
        if whole != parameter.numel():
            raise CallbackError(
                f"{name} is split by DeepSpeed stage 3: {parameter.numel()} of its {whole} values are here. "
                "Turn the saved folder into one file (zero_to_fp32) and compress that, or train with stage 2."
            )


def is_sharded(trainer: Any) -> bool:
    """Whether a rank holds only a part of some weight of the trainer's module."""
    parts = (*trainer.strategy.model.modules(), *trainer.lightning_module.parameters())
    return not _SHARDS.isdisjoint(type(part).__name__ for part in parts)


def shape_only(module: torch.nn.Module) -> dict[str, Tensor] | None:
    """A state dict with the module's names, dtypes and whole shapes, but all 0, which takes no memory.

    None where that is not cheap: a lazy parameter has no shape yet, and the older FSDP gathers for its state dict.
    """
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in module.modules()):
        return None
    tensors = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in tensors.values()):
        return None
    return {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in tensors.items()}
