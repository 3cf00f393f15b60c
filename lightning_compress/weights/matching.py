"""Matches stored tensors to the tensors of a module by name, and loads them in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import MismatchError
from lightning_compress.messages.name_lists import first_names
from lightning_compress.weights.names import (
    common_name,
    counts_averages,
    is_observer_state,
    prefix_lengths,
    strip_wrappers,
)

_MAX_LISTED = 20  # names per line of an error message


def load_into(
    module: nn.Module,
    stored: Mapping[str, Tensor],
    *,
    excluded: Iterable[str] = (),
    strict: bool = True,
    source: str = "the file",
) -> None:
    """Load stored tensors into a module in place; arguments and errors as for :func:`match_state`."""
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
    """The stored tensors under the names that the module uses for them.

    Names match even if they differ by the prefixes of ``torch.compile``, FSDP, DDP, DeepSpeed, ``AveragedModel`` or
    PEFT, or by the two forms of weight normalization. If
    ``torch.nn.utils.prune`` has split a weight of the module, its original takes the stored, pruned value, and its mask
    is 1 where that value is not 0.

    Args:
        live: the module's state dict.
        stored: the file's tensors.
        excluded: names that were left out of the file; they may be missing.
        strict: whether every other name must have a counterpart on both sides; shapes must agree in any case.
        source: name of the file, for messages.

    Returns:
        Name in ``live`` → tensor, for every name with a counterpart.

    Raises:
        MismatchError: lists the names and shapes that differ.
    """
    storage_names = _storage_names(live)
    matched = _pairs(storage_names, stored)
    left_out = {strip_wrappers(name) for name in excluded}
    taken = set(matched.values())
    missing = [name for name in storage_names if name not in taken and strip_wrappers(name) not in left_out]
    missing = [name for name in missing if not counts_averages(storage_names, name)]
    unexpected = [name for name in stored if name not in matched and not counts_averages(stored, name)]
    shapes = [
        f"{base} ({source}: {list(stored[name].shape)}, module: {list(live[storage_names[base]].shape)})"
        for name, base in matched.items()
        if not _same_shape(stored[name], live[storage_names[base]]) and not is_observer_state(name)
    ]
    if shapes or (strict and (missing or unexpected)):
        raise MismatchError(_differences(source, missing, unexpected, shapes))
    result: dict[str, Tensor] = {}
    for name, base in matched.items():
        result[storage_names[base]] = stored[name]
        if storage_names[base] != base:
            mask = live[f"{base}_mask"]
            result[f"{base}_mask"] = (stored[name] != 0).to(mask.dtype)
    return result


def counterparts(live: Mapping[str, Any], stored: Iterable[str]) -> dict[str, str]:
    """Stored name → the name of the matching tensor in a module's state dict, as in :func:`match_state`.

    Args:
        live: the module's state dict.
        stored: names of the file's tensors; those without a counterpart are left out.
    """
    storage_names = _storage_names(live)
    return {name: storage_names[base] for name, base in _pairs(storage_names, stored).items()}


def _storage_names(live: Mapping[str, Any]) -> dict[str, str]:
    """Name of a weight → the name that stores it in the module: ``x`` → ``x_orig`` if pruned, else ``x``."""
    names: dict[str, str] = {}
    for name in live:
        base = name.removesuffix("_orig")
        if base != name and f"{base}_mask" in live:
            names[base] = name
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in live):
            names[name] = name
    return names


def _pairs(live: Iterable[str], stored: Iterable[str]) -> dict[str, str]:
    """Stored name → name in the module: the equal name, else the only one that differs by wrapper prefixes alone.

    A prefix that all names of one side have is removed if more names match without it. So a file of a wrapped model
    matches also where one of its submodules is called like the prefix.
    """
    live, stored = list(live), list(stored)
    if set(stored) <= set(live):
        return {name: name for name in stored}
    common_live, common_stored = map(common_name, live), map(common_name, stored)
    lengths = product(prefix_lengths(common_live), prefix_lengths(common_stored))
    attempts = [_pairs_without(live, stored, *pair) for pair in sorted(lengths, key=sum)]
    pairs = max(attempts, key=len)
    taken = set(pairs.values())
    rest_live = [name for name in live if name not in taken]
    rest_stored = [name for name in stored if name not in pairs]
    return pairs | _unique_pairs(_grouped(rest_live, strip_wrappers), _grouped(rest_stored, strip_wrappers))


def _pairs_without(live: Iterable[str], stored: Iterable[str], live_prefix: int, stored_prefix: int) -> dict[str, str]:
    """The pairs if prefixes of these lengths are removed; if none is, equal names are pairs before all others."""
    pairs = {name: name for name in set(live) & set(stored)} if live_prefix == stored_prefix == 0 else {}
    return pairs | _unique_pairs(
        _grouped((name for name in live if name not in pairs), lambda name: common_name(name)[live_prefix:]),
        _grouped((name for name in stored if name not in pairs), lambda name: common_name(name)[stored_prefix:]),
    )


def _unique_pairs(live: Mapping[str, list[str]], stored: Mapping[str, list[str]]) -> dict[str, str]:
    return {
        names[0]: live[form][0] for form, names in stored.items() if len(names) == 1 and len(live.get(form, ())) == 1
    }


def _grouped(names: Iterable[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(form(name), []).append(name)
    return groups


def _same_shape(stored: Tensor, live: Tensor) -> bool:
    """Whether the shapes agree; a lazy parameter accepts any shape."""
    return torch.nn.parameter.is_lazy(live) or stored.shape == live.shape


def _differences(source: str, missing: list[str], unexpected: list[str], shapes: list[str]) -> str:
    lines = [f"{source} does not fit the module."]
    for title, names in (
        ("In the module, not in the file", missing),
        ("In the file, not in the module", unexpected),
        ("Different shapes", shapes),
    ):
        if names:
            lines.append(f"{title}: {first_names(names, _MAX_LISTED)}.")
    lines.append("Build the module as it was trained; strict=False ignores names, never shapes.")
    return "\n".join(lines)
