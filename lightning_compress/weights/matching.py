"""Stored tensors and the tensors of a module: matched by name, loaded in place, differences listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import MismatchError
from lightning_compress.weights.names import strip_wrappers

_SHOWN = 20


def load_into(
    module: nn.Module,
    stored: Mapping[str, Tensor],
    *,
    excluded: Iterable[str] = (),
    strict: bool = True,
    source: str = "the file",
) -> None:
    """Put stored tensors into a module in place; arguments and errors as for :func:`match_state`."""
    state = module.state_dict()
    state.update(match_state(state, stored, excluded=excluded, strict=strict, source=source))
    module.load_state_dict(state, strict=strict)


def match_state(
    live: Mapping[str, Any],
    stored: Mapping[str, Tensor],
    *,
    excluded: Iterable[str] = (),
    strict: bool = True,
    source: str = "the file",
) -> dict[str, Tensor]:
    """Stored tensors under the names that a module uses for them.

    Names that differ only by what ``torch.compile``, FSDP or DDP put into them are the same. A weight that
    ``torch.nn.utils.prune`` has split in the module takes its stored, pruned value: the mask becomes the
    places of the values that are not 0.

    Args:
        live: the module's state dict.
        stored: the file's tensors.
        excluded: names that were left out of the file, which may therefore be missing.
        strict: whether every other name must have its counterpart on both sides; shapes always must agree.
        source: name of the file, for messages.

    Returns:
        name in ``live`` → tensor, for all that have a counterpart.

    Raises:
        MismatchError: lists the names and shapes that differ.
    """
    units = _units(live)
    partner = _pairs(units, stored)
    left_out = {strip_wrappers(name) for name in excluded}
    taken = set(partner.values())
    missing = [unit for unit in units if unit not in taken and strip_wrappers(unit) not in left_out]
    unexpected = [name for name in stored if name not in partner]
    shapes = [
        f"{unit} ({source}: {list(stored[name].shape)}, module: {list(live[units[unit]].shape)})"
        for name, unit in partner.items()
        if not _same_shape(stored[name], live[units[unit]])
    ]
    if shapes or (strict and (missing or unexpected)):
        raise MismatchError(_differences(source, missing, unexpected, shapes))
    result: dict[str, Tensor] = {}
    for name, unit in partner.items():
        result[units[unit]] = stored[name]
        if units[unit] != unit:
            mask = live[f"{unit}_mask"]
            result[f"{unit}_mask"] = (stored[name] != 0).to(mask.dtype)
    return result


def counterparts(live: Mapping[str, Any], stored: Iterable[str]) -> dict[str, str]:
    """Stored name → the name in a module's state dict whose tensor holds it, matched as by :func:`match_state`.

    Args:
        live: the module's state dict.
        stored: names of the file's tensors; those without a counterpart are left out.
    """
    units = _units(live)
    return {name: units[unit] for name, unit in _pairs(units, stored).items()}


def _units(live: Mapping[str, Any]) -> dict[str, str]:
    """Names under which weights are stored → the names that hold them in the module: ``x`` → ``x_orig``."""
    units: dict[str, str] = {}
    for name in live:
        base = name.removesuffix("_orig")
        if base != name and f"{base}_mask" in live:
            units[base] = name
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in live):
            units[name] = name
    return units


def _pairs(units: Iterable[str], stored: Iterable[str]) -> dict[str, str]:
    """Stored name → name in the module: the same name first, then the only one that differs by wrappers."""
    units, stored = dict.fromkeys(units), list(stored)
    pairs = {name: name for name in stored if name in units}
    free: dict[str, list[str]] = {}
    for unit in units:
        if unit not in pairs:
            free.setdefault(strip_wrappers(unit), []).append(unit)
    claims: dict[str, list[str]] = {}
    for name in stored:
        if name not in pairs:
            claims.setdefault(strip_wrappers(name), []).append(name)
    for stripped, names in claims.items():
        candidates = free.get(stripped, [])
        if len(names) == len(candidates) == 1:
            pairs[names[0]] = candidates[0]
    return pairs


def _same_shape(stored: Tensor, live: Any) -> bool:
    """True also for a lazy parameter, which takes whatever shape it is given."""
    return torch.nn.parameter.is_lazy(live) or stored.shape == live.shape


def _differences(source: str, missing: list[str], unexpected: list[str], shapes: list[str]) -> str:
    lines = [f"{source} does not fit the module."]
    for title, names in (
        ("In the module, not in the file", missing),
        ("In the file, not in the module", unexpected),
        ("Different shapes", shapes),
    ):
        if names:
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"{title}: {', '.join(names[:_SHOWN])}{more}.")
    lines.append("Build the module as it was trained; strict=False ignores names, never shapes.")
    return "\n".join(lines)
