"""Weights that torchao has quantized: stored by their whole numbers and scales, and read back as plain weights.

torchao is not imported: its tensors are known by the parts that they have.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lightning_compress.errors import TrainingError

_PARTS = ("qdata", "scale", "zero_point")


def split_quantized(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of a module, in which each weight that torchao has quantized is replaced by its parts.

    ``compress`` stores the parts exactly: at 4 bits in groups of 32, in less than 5 bits a weight, where the same
    weights as numbers of floating point take 17. :func:`join_quantized` is the inverse.

    Args:
        module: after ``quantize_(module, QATConfig(base_config, step="convert"))``, or any other quantization of
            torchao. Weights whose whole numbers are packed are given by their values.

    Raises:
        TrainingError: the module is only prepared for quantization, or nothing in it is quantized.
    """
    for name, part in module.named_modules():
        if getattr(part, "weight_fake_quantizer", None) is not None:
            raise TrainingError(
                f"module {name!r} is prepared for quantization, and its weights are not quantized yet: call "
                "quantize_(module, QATConfig(base_config, step='convert')) first"
            )
    state: dict[str, Tensor] = {}
    count = 0
    for name, tensor in module.state_dict().items():
        parts = _parts(tensor)
        count += bool(parts)
        state.update({f"{name}.{part}": value for part, value in parts.items()} if parts else {name: tensor})
    if not count:
        raise TrainingError(f"{type(module).__name__} has no weight that torchao has quantized: compress it as it is")
    return state


def join_quantized(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name → tensor, in which parts that :func:`split_quantized` made are weights of floating point again."""
    names = {name.removesuffix(".qdata") for name in state if name.endswith(".qdata")}
    whole: dict[str, Tensor] = {}
    for name, tensor in state.items():
        base, _, part = name.rpartition(".")
        if base not in names or part not in _PARTS:
            whole[name] = tensor
        elif part == "qdata":
            whole[base] = _joined({each: state[f"{base}.{each}"] for each in _PARTS if f"{base}.{each}" in state})
    return whole


def _parts(tensor: Tensor) -> dict[str, Tensor]:
    """The parts of a quantized tensor; empty for others, and where they do not give its values."""
    if not hasattr(tensor, "dequantize") or not hasattr(tensor, "qdata"):
        return {}
    found = {name: getattr(tensor, name, None) for name in _PARTS}
    parts = {name: part.detach() for name, part in found.items() if isinstance(part, Tensor)}
    fits = "scale" in parts and parts["qdata"].shape == tensor.shape and parts["scale"].dim() == tensor.dim() == 2
    return parts if fits and bool((_joined(parts) == tensor.dequantize()).all()) else {}


def _joined(parts: Mapping[str, Tensor]) -> Tensor:
    """``[rows, columns]``: (whole number − zero point) · scale, each scale for a group of a row."""
    scale = parts["scale"]
    groups = parts["qdata"].to(scale.dtype).reshape(*scale.shape, -1)
    if "zero_point" in parts:
        groups = groups - parts["zero_point"].to(scale.dtype)[..., None]
    return (groups * scale[..., None]).reshape(parts["qdata"].shape)
