"""Modules from compressed files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, TypeVar

from torch import Tensor, nn

from lightning_compress.archive import Archive
from lightning_compress.errors import MismatchError
from lightning_compress.weights import load_into

ModuleT = TypeVar("ModuleT", bound=nn.Module)


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


def _call(module: nn.Module, hook: str, *arguments: Any) -> None:
    function = getattr(module, hook, None)
    if callable(function):
        function(*arguments)
