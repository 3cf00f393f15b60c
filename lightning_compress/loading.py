"""Modules from compressed files: names matched, differences listed, classes imported only when allowed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from os import PathLike
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_compress.archive import Archive
from lightning_compress.errors import ClassNotAllowedError, MismatchError
from lightning_compress.weights import matches_any, strip_wrappers

ModuleT = TypeVar("ModuleT", bound=nn.Module)
_SHOWN = 20


def load_from_checkpoint(
    cls: type[ModuleT], path: str | PathLike[str], *, strict: bool = True, **overrides: Any
) -> ModuleT:
    """Build a module from the hyper-parameters in a compressed file and put the file's weights into it.

    Like ``LightningModule.load_from_checkpoint``, and for a plain ``nn.Module`` as well: stored
    hyper-parameters that the constructor does not take are dropped, ``configure_model`` and
    ``on_load_checkpoint`` are called where there are some (the latter with ``state_dict`` and
    ``hyper_parameters``). What was left out of the file keeps the value that the constructor gave it.

    Args:
        cls: class of the module.
        path: a compressed file, or its URL.
        strict: whether names must agree; shapes always must.
        overrides: constructor arguments, over those in the file.

    Returns:
        The module, on the CPU unless its constructor puts it elsewhere.

    Raises:
        MismatchError: names or shapes differ, or the constructor needs an argument that the file does not
            hold.
        FormatError: the file is damaged, newer or none of ours.
    """
    archive = Archive.open(path)
    return build(
        cls,
        archive.restore(),
        archive.manifest.hyper_parameters,
        excluded=archive.manifest.excluded,
        strict=strict,
        source=str(path),
        **overrides,
    )


def build(
    factory: Callable[..., ModuleT],
    tensors: Mapping[str, Tensor],
    hyper_parameters: Mapping[str, Any],
    *,
    excluded: Iterable[str] = (),
    strict: bool = True,
    source: str = "the file",
    **overrides: Any,
) -> ModuleT:
    """Build a module and put tensors into it.

    Args:
        factory: the class of the module, or a function that makes one.
        tensors: name → tensor.
        hyper_parameters: those that ``factory`` takes are given to it.
        excluded: names that may be missing.
        strict: as for :func:`load_from_checkpoint`.
        source: name of the file, for messages.
        overrides: arguments of ``factory``, over the hyper-parameters.

    Raises:
        MismatchError: as for :func:`load_from_checkpoint`.
    """
    given = {**hyper_parameters, **overrides}
    module = factory(**_arguments(factory, given, overrides, source))
    _call(module, "configure_model")
    checkpoint = {"state_dict": dict(tensors), "hyper_parameters": given}
    _call(module, "on_load_checkpoint", checkpoint)
    load_into(module, checkpoint["state_dict"], excluded=excluded, strict=strict, source=source)
    return module


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


def partners(live: Mapping[str, Any], stored: Iterable[str]) -> dict[str, str]:
    """Stored name → the name in a module's state dict whose tensor holds it, matched as by :func:`match_state`.

    Args:
        live: the module's state dict.
        stored: names of the file's tensors; those without a counterpart are left out.
    """
    units = _units(live)
    return {name: units[unit] for name, unit in _pairs(units, stored).items()}


def resolve_class(class_path: str, allow: Sequence[str]) -> type[nn.Module]:
    """Import the module class that a file names, if the caller allows it.

    Args:
        class_path: import path, as in a manifest: ``package.module.Class``.
        allow: patterns of the paths that may be imported; ``*`` stands for any run of characters.

    Raises:
        ClassNotAllowedError: no pattern matches, and nothing was imported; or the path leads to no module
            class.
    """
    if not matches_any(allow, class_path):
        raise ClassNotAllowedError(
            f"the file names the class {class_path!r}, which no allowed pattern matches: {list(allow)}. "
            f"Importing runs its code: if you trust it, allow it with allow=[{class_path!r}]."
        )
    parts = class_path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name, None)
        if isinstance(found, type) and issubclass(found, nn.Module):
            return found
        break
    raise ClassNotAllowedError(
        f"{class_path!r} leads to no torch.nn.Module class here: install or import the code that defines it, "
        "or give the class yourself (load_from_checkpoint(YourModule, path))"
    )


def _arguments(
    factory: Callable[..., Any], hyper_parameters: Mapping[str, Any], overrides: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """Constructor arguments: those it takes, with an error for those it lacks."""
    parameters = inspect.signature(factory).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    arguments = {n: v for n, v in hyper_parameters.items() if takes_all or n in named}
    lacking = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    unknown = [name for name in overrides if not takes_all and name not in named]
    if lacking or unknown:
        raise MismatchError(
            f"{factory.__qualname__} cannot be built from {source}: "
            + "; ".join(
                text
                for names, text in (
                    (
                        lacking,
                        f"it needs {', '.join(lacking)}, which the file does not hold: give them as keywords",
                    ),
                    (unknown, f"it takes no {', '.join(unknown)}: leave them out"),
                )
                if names
            )
            + f". The file's hyper-parameters: {', '.join(hyper_parameters) or 'none'}."
        )
    return arguments


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


def _call(module: nn.Module, hook: str, *arguments: Any) -> None:
    function = getattr(module, hook, None)
    if callable(function):
        function(*arguments)
