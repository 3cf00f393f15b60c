"""Prepares a state dict for storage: rejects what cannot be stored and merges pruning masks into their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from lightning_compress.errors import WeightsError
from lightning_compress.weights.deferred import DeferredTensor

MAX_DIMENSIONS = 64  # operations of torch take no more


def storable_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by name, detached, and with lazy negation resolved, so that their bits are their values.

    Raises:
        WeightsError: an entry cannot be stored; the message names the first one and says what to do.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        check_not_converted(name)
        tensor = _plain(name, tensor)
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(
                f"the entry {name!r} is of type {type(tensor).__name__}, expected a name and a tensor: give a state "
                "dict, or the path of a checkpoint that has one under 'state_dict'"
            )
        if is_lazy(tensor):
            raise WeightsError(f"{name!r} is not initialized yet and has no values: run the module on one batch first")
        if tensor.device.type == "meta":
            raise WeightsError(f"{name!r} is on the meta device and has no values: materialize it first")
        if tensor.ndim > MAX_DIMENSIONS:
            raise WeightsError(
                f"{name!r} has {tensor.ndim} dimensions, expected at most {MAX_DIMENSIONS}: reshape it, or leave it "
                "out with compression_exclude()"
            )
        if str(tensor.dtype).startswith("torch.bits"):
            raise WeightsError(
                f"{name!r} has dtype {tensor.dtype}, which files cannot hold: give it as integers, such as "
                f".view(torch.uint8), or leave it out with compression_exclude()"
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
            raise WeightsError(
                f"{name!r} has layout {tensor.layout} and dtype {tensor.dtype}, expected a dense tensor: convert it "
                "(to_dense(), dequantize()) or leave it out with compression_exclude()"
            )
        if hasattr(tensor, "full_tensor"):
            raise WeightsError(f"{name!r} is one shard of a distributed tensor: gather it with full_tensor() first")
        result[name] = tensor if isinstance(tensor, DeferredTensor) else tensor.detach().resolve_neg()
    return result


def _plain(name: object, tensor: Tensor) -> Tensor:
    """The values of a tensor that is made of others, as torchao quantizes weights.

    Raises:
        WeightsError: it does not say its values.
    """
    if not hasattr(tensor, "__tensor_flatten__") or hasattr(tensor, "full_tensor"):
        return tensor
    try:
        values = tensor.dequantize()
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        raise WeightsError(
            f"{name!r} is a {type(tensor).__name__}, which is made of other tensors and does not give its values: "
            "store the parts, or convert it to a plain tensor"
        ) from error
    return values


def check_not_converted(name: object) -> None:
    """Refuse the packed weights of a module that ``torch.ao.quantization.convert`` has quantized.

    Raises:
        WeightsError: the name is that of packed weights.
    """
    if "_packed_params" in str(name):
        raise WeightsError(
            f"{name!r} holds the packed weights of a quantized module, which are small already and not floating-point: "
            "compress the module as it was before torch.ao.quantization.convert()"
        )


def merged_name(name: str, state: Collection[str]) -> str:
    """The name under which a tensor is stored: ``x`` for ``x_orig`` and ``x_mask`` of ``torch.nn.utils.prune``."""
    for suffix, other in (("_orig", "_mask"), ("_mask", "_orig")):
        base = name.removesuffix(suffix)
        if base != name and f"{base}{other}" in state:
            return base
    return name


def merge_pruning(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace ``x_orig`` and ``x_mask`` of ``torch.nn.utils.prune`` by the pruned ``x``."""
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        base = merged_name(name, state)
        if base == name:
            result[name] = tensor
        elif name == f"{base}_orig":
            result[base] = _pruned(tensor, state[f"{base}_mask"])
    return result


def _pruned(tensor: Tensor, mask: Tensor) -> Tensor:
    def product() -> Tensor:
        return tensor * mask.to(tensor.dtype)

    if isinstance(tensor, DeferredTensor):
        return DeferredTensor(product, tensor.dtype, tensor.shape, tensor.stride())
    return product()
