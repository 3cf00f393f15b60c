"""Work for one rank, and state dicts whose tensors are distributed over several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.callbacks.hooks.lightning_types import Strategy, Trainer
from lightning_compress.errors import CallbackError

_SHARDED_TYPES = frozenset({"FullyShardedDataParallel", "DTensor", "FlatParameter"})


def on_rank_zero(strategy: Strategy, work: Callable[[], None]) -> None:
    """Call ``work`` on rank 0; if it fails there, raise on every rank. To be called on every rank.

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
    raise_on_every_rank(strategy, failure)


def raise_on_every_rank(strategy: Strategy, failure: Exception | None) -> None:
    """Raise the failure of rank 0 on every rank; do nothing if rank 0 has none. To be called on every rank.

    If rank 0 alone raised, the other ranks would wait in the next barrier until the process group times out.

    Raises:
        Exception: on rank 0, the failure.
        CallbackError: on the other ranks, with its text.
    """
    text = strategy.broadcast(None if failure is None else f"{type(failure).__name__}: {failure}", src=0)
    if failure is not None:
        raise failure
    if text is not None:
        raise CallbackError(f"rank 0 failed, so this rank stops too. The error on rank 0: {text}")


@torch.no_grad()
def gather(strategy: Strategy, state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict with complete tensors: on rank 0, and on the other ranks only if nothing was sharded.

    To be called on every rank, with the state dict of that rank. Tensors are gathered one after another, so rank 0
    holds one copy of the model in main memory and each rank one complete tensor on its device.

    Returns:
        The state dict; empty on the other ranks if tensors were sharded.

    Raises:
        CallbackError: the parameters are partitioned by DeepSpeed stage 3, whose state dict holds placeholders.
    """
    if strategy.lightning_module is not None:
        _refuse_placeholders(strategy.lightning_module)
    if not any(is_distributed_tensor(value) for value in state.values()):
        return dict(state)
    full: dict[str, Any] = {}
    for name, value in state.items():
        tensor = whole_tensor(value, 0, strategy.root_device) if is_distributed_tensor(value) else value
        if strategy.is_global_zero:
            full[name] = tensor.cpu() if isinstance(tensor, Tensor) else tensor
    return full


def is_distributed_tensor(value: object) -> bool:
    """Whether a value is a ``DTensor``, or a ``ShardedTensor`` of the older FSDP: each rank holds a part of them."""
    return _is_dtensor(value) or type(value).__name__ == "ShardedTensor"


def whole_tensor(shards: Any, rank: int, device: torch.device) -> Tensor:
    """A distributed tensor, whole, on one rank. To be called on every rank.

    Args:
        shards: of :func:`is_distributed_tensor`.
        rank: where it is needed; elsewhere the result may be empty.
        device: of this rank, for what is sent.
    """
    if _is_dtensor(shards):
        whole: Tensor = shards.full_tensor()
        return whole
    is_needed = torch.distributed.get_rank() == rank
    whole = torch.empty(shards.shape if is_needed else 0, dtype=shards.dtype, device=device)
    shards.gather(rank, whole if is_needed else None, dtype=shards.dtype)
    return whole


def full_state_dict(strategy: Strategy) -> dict[str, Any]:
    """The state dict of a sharded model: complete on rank 0, empty on the others. To be called on every rank."""
    # Imported here, because it takes a second that only sharded models need.
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    assert strategy.model is not None
    # Offloading tensors that are already in main memory crashes, for example in torch 2.13.
    offload = strategy.root_device.type != "cpu"
    options = StateDictOptions(full_state_dict=True, cpu_offload=offload)
    return dict(get_model_state_dict(strategy.model, options=options))


def is_sharded(trainer: Trainer) -> bool:
    """Whether a rank holds only a part of some weight of the trainer's module."""
    assert trainer.strategy.model is not None
    parts = (*trainer.strategy.model.modules(), *trainer.lightning_module.parameters())
    return not _SHARDED_TYPES.isdisjoint(type(part).__name__ for part in parts)


def shape_only(module: nn.Module) -> dict[str, Tensor] | None:
    """A state dict with the module's names, dtypes and complete shapes, whose zeros take no memory.

    None if that would be expensive or impossible: a lazy parameter has no shape yet, and the older FSDP gathers all
    tensors for its state dict.
    """
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in module.modules()):
        return None
    tensors = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    if any(nn.parameter.is_lazy(tensor) for tensor in tensors.values()):
        return None
    return {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in tensors.items()}


def _is_dtensor(value: object) -> bool:
    return hasattr(value, "full_tensor")


def _refuse_placeholders(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        size = getattr(parameter, "ds_numel", parameter.numel())
        if size != parameter.numel():
            raise CallbackError(
                f"{name} is split by DeepSpeed stage 3: {parameter.numel()} of its {size} values are here. "
                "Turn the saved folder into one file (zero_to_fp32) and compress that, or train with stage 2."
            )
