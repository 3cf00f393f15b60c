"""What a module tells of its state dict: what decoding does not need, and what it needs besides."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from lightning_compress.errors import WeightsError
from lightning_compress.weights.names import strip_wrappers

# Names under which training-only state usually stands; used where no module tells more.
_TRAINING_ONLY = frozenset({"criterion", "loss", "loss_fn", "loss_function", "metric", "metrics"})


def unwrapped(module: nn.Module | None) -> nn.Module | None:
    """The module inside what ``torch.compile``, DDP and DataParallel put around it."""
    while module is not None:
        if isinstance(module, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            break
    return module


def training_only(names: Iterable[str], module: nn.Module | None) -> set[str]:
    """Names of metric and loss state: by type where the module is known, else by name."""
    if module is None:
        return {name for name in names if _TRAINING_ONLY & set(strip_wrappers(name).lower().split(".")[:-1])}
    prefixes = tuple(f"{strip_wrappers(n)}." for n, m in module.named_modules() if n and _is_training_only(m))
    return {name for name in names if strip_wrappers(name).startswith(prefixes)}


def excluded_by(module: nn.Module | None) -> list[str]:
    """Patterns that the module's ``compression_exclude()`` gives, if it has one.

    Raises:
        WeightsError: it gives something else.
    """
    return patterns("compression_exclude()", _call(module, "compression_exclude", []))


def patterns(what: str, value: Any) -> list[str]:
    """A list of patterns, as given.

    Raises:
        WeightsError: it is none; a single string is refused too, for its characters would be taken as patterns.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise WeightsError(f"{what} is {value!r}, expected a list of patterns such as ['teacher.*']")
    found = list(value)
    for pattern in found:
        if not isinstance(pattern, str):
            raise WeightsError(f"{what} holds {pattern!r}, expected patterns such as 'teacher.*'")
    return found


def assets_of(module: nn.Module | None) -> dict[str, bytes]:
    """Files that the module's ``compression_assets()`` gives, if it has one: name → content.

    Raises:
        WeightsError: it gives something else.
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


def json_able(values: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The hyper-parameters as JSON in UTF-8 gives them back, tuples as lists; and the names of those it cannot hold.

    Names that begin with an underscore are notes of Lightning's command line to itself, no hyper-parameters.
    """
    held: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in dict(values if isinstance(values, Mapping) else getattr(values, "__dict__", {})).items():
        try:
            read_back = json.loads(json.dumps([name, value], allow_nan=False, ensure_ascii=False).encode())[1]
            same = read_back == _tuples_as_lists(value)
        except (TypeError, ValueError, RecursionError):
            same = False
        if str(name).startswith("_"):
            continue
        if isinstance(name, str) and same:
            held[name] = read_back
        else:
            left_out.append(str(name))
    return held, tuple(left_out)


def _tuples_as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples_as_lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tuples_as_lists(item) for item in value]
    return value


def is_metric(value: object) -> bool:
    """Whether it is a metric of torchmetrics, which need not be installed."""
    return any(c.__name__ == "Metric" and c.__module__.startswith("torchmetrics") for c in type(value).__mro__)


def _is_training_only(module: nn.Module) -> bool:
    return is_metric(module) or isinstance(module, nn.modules.loss._Loss)


def _call(module: nn.Module | None, method: str, default: Any) -> Any:
    function = getattr(module, method, None)
    return function() if callable(function) else default
