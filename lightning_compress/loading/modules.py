"""Builds modules from compressed files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from os import PathLike
from typing import Any, TypeVar

from torch import Tensor, nn

from lightning_compress.archive import Archive
from lightning_compress.errors import MismatchError
from lightning_compress.loading.left_out import tell_left_out
from lightning_compress.weights import load_into

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def load_from_checkpoint(
    cls: type[ModuleT], path: str | PathLike[str], *, strict: bool = True, **overrides: Any
) -> ModuleT:
    """Build a module from the hyper-parameters in a compressed file and load the file's weights.

    Works like ``LightningModule.load_from_checkpoint``, also for a plain ``nn.Module``. Stored hyper-parameters that
    the constructor does not accept are dropped. The hooks ``configure_model`` and ``on_load_checkpoint`` are called if
    they exist, the latter with ``state_dict`` and ``hyper_parameters``. Tensors that were left out of the file keep the
    values from the constructor.

    Args:
        cls: class of the module.
        path: path or URL of a compressed file.
        strict: whether names must agree; shapes must agree in any case.
        overrides: constructor arguments, which override those in the file.

    Returns:
        The module, on the device that its constructor uses.

    Raises:
        MismatchError: names or shapes differ, or the file lacks an argument that the constructor requires.
        FormatError: the file is damaged, has a newer format version, or is not a compressed file.
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
    excluded: Collection[str] = (),
    strict: bool = True,
    source: str = "the file",
    **overrides: Any,
) -> ModuleT:
    """Build a module and load tensors into it.

    Args:
        factory: class of the module, or a function that creates it.
        tensors: name → tensor.
        hyper_parameters: arguments for ``factory``; those it does not accept are dropped.
        excluded: names that may be missing.
        strict: as for :func:`load_from_checkpoint`.
        source: name of the file, for messages.
        overrides: arguments of ``factory``, which override the hyper-parameters.

    Raises:
        MismatchError: as for :func:`load_from_checkpoint`.
    """
    all_parameters = {**hyper_parameters, **overrides}
    module = factory(**_arguments(factory, all_parameters, overrides, source))
    _call_hook(module, "configure_model")
    checkpoint = {"state_dict": dict(tensors), "hyper_parameters": all_parameters}
    _call_hook(module, "on_load_checkpoint", checkpoint)
    load_into(module, checkpoint["state_dict"], excluded=excluded, strict=strict, source=source)
    tell_left_out(module, excluded, source)
    return module


def _arguments(
    factory: Callable[..., Any], hyper_parameters: Mapping[str, Any], overrides: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """The hyper-parameters that the constructor accepts; an error if it requires others or rejects an override."""
    parameters = inspect.signature(factory).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    accepts_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    arguments = {n: v for n, v in hyper_parameters.items() if accepts_all or n in named}
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    unknown = [name for name in overrides if not accepts_all and name not in named]
    if missing or unknown:
        raise MismatchError(
            f"{factory.__qualname__} cannot be built from {source}: "
            + "; ".join(
                text
                for names, text in (
                    (
                        missing,
                        f"it needs {', '.join(missing)}, which the file does not hold: give them as keywords",
                    ),
                    (unknown, f"it takes no {', '.join(unknown)}: leave them out"),
                )
                if names
            )
            + f". The file's hyper-parameters: {', '.join(hyper_parameters) or 'none'}."
        )
    return arguments


def _call_hook(module: nn.Module, hook: str, *arguments: Any) -> None:
    function = getattr(module, hook, None)
    if callable(function):
        function(*arguments)
