"""What a module says about its checkpoint: training-only state, exclude patterns and assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from lightning_compress.errors import WeightsError
from lightning_compress.weights.names import strip_wrappers


def unwrap(module: nn.Module | None) -> nn.Module | None:
    """The module inside the wrappers of ``torch.compile``, DDP and DataParallel."""
    while module is not None:
        if isinstance(module, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            break
    return module


def metric_state(names: Iterable[str], module: nn.Module | None) -> set[str]:
    """Names of the state of torchmetrics metrics, frozen networks in them included; trained parameters are never in it.

    Without the module there are none: a name does not tell the state of a metric from a trained parameter.
    """
    if module is None:
        return set()
    parts = module.named_modules(remove_duplicate=False)
    prefixes = tuple(f"{strip_wrappers(name)}." for name, part in parts if name and is_metric(part))
    parameters = module.named_parameters(remove_duplicate=False)
    trained = {strip_wrappers(name) for name, parameter in parameters if parameter.requires_grad}
    return {name for name in names if strip_wrappers(name).startswith(prefixes) and strip_wrappers(name) not in trained}


def exclude_patterns_of(module: nn.Module | None) -> list[str]:
    """The patterns that the module's optional method ``compression_exclude()`` returns.

    Raises:
        WeightsError: it returns anything but a list of patterns.
    """
    return checked_patterns("compression_exclude()", _call(module, "compression_exclude", []))


def checked_patterns(what: str, value: object) -> list[str]:
    """The value itself as a list, if it is a collection of patterns.

    Args:
        what: what to call the value in messages.
        value: the value to check.

    Raises:
        WeightsError: it is not; a single string is refused too, because its characters would be taken as patterns.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise WeightsError(f"{what} is {value!r}, expected a list of patterns such as ['teacher.*']")
    found = list(value)
    for pattern in found:
        if not isinstance(pattern, str):
            raise WeightsError(f"{what} holds {pattern!r}, expected patterns such as 'teacher.*'")
    return found


def assets_of(module: nn.Module | None) -> dict[str, bytes]:
    """The files that the module's optional method ``compression_assets()`` returns: name → content.

    Raises:
        WeightsError: it returns anything but names and bytes.
    """
    value = _call(module, "compression_assets", {})
    if not isinstance(value, Mapping):
        raise WeightsError(f"compression_assets() gave a {type(value).__name__}, expected name → bytes")
    for name, content in value.items():
        if not isinstance(name, str) or not isinstance(content, bytes):
            raise WeightsError(
                f"compression_assets() gave {name!r} → {type(content).__name__}, expected name → bytes: "
                "write text.encode(), or path.read_bytes()"
            )
    return dict(value)


def is_metric(value: object) -> bool:
    """Whether the value is a torchmetrics metric; torchmetrics need not be installed."""
    return any(c.__name__ == "Metric" and c.__module__.startswith("torchmetrics") for c in type(value).__mro__)


def _call(module: nn.Module | None, method: str, default: object) -> Any:
    function = getattr(module, method, None)
    return function() if callable(function) else default
