"""Builds modules that ``LightningCLI`` has built, by Lightning's own function and from classes that are permitted."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

from lightning_compress.errors import ClassNotAllowedError, MismatchError
from lightning_compress.loading.classes.allowed_classes import is_allowed, resolve_class
from lightning_compress.loading.classes.class_paths import imported_class, refused_paths
from lightning_compress.loading.stored_module import StoredModule
from lightning_compress.weights import lightning_package

ModuleT = TypeVar("ModuleT")
INSTANTIATOR_KEY = "_instantiator"
CLASS_KEY = "_class_path"
_FUNCTIONS = ("pytorch_lightning.cli.instantiate_module", "lightning.pytorch.cli.instantiate_module")


def class_to_build(kind: type[ModuleT], stored: StoredModule, allow: Sequence[str]) -> type[ModuleT]:
    """The class that a file of ``LightningCLI`` in subclass mode names, else the given one.

    Raises:
        ClassNotAllowedError: it is no subclass of the given class, or it is neither imported nor allowed.
    """
    path = stored.record.hyper_parameters.get(CLASS_KEY)
    if path is None or INSTANTIATOR_KEY not in stored.record.hyper_parameters:
        return kind
    text = str(path)
    found: type | None = resolve_class(text, allow) if is_allowed(text, allow) else imported_class(text)
    if found is not None and issubclass(found, kind):
        return found
    if found is None and text.rpartition(".")[2] == kind.__name__:  # the module that defines it has another name here
        return kind
    raise ClassNotAllowedError(
        f"{stored.source} names the class {text!r}, which is not an imported subclass of {kind.__qualname__}: import "
        f"the module that defines it, or, if you trust the file, allow it with allow=[{text!r}]"
    )


def instantiate(
    kind: type[ModuleT],
    values: Mapping[str, Any],
    overrides: Mapping[str, Any],
    stored: StoredModule,
    allow: Sequence[str],
) -> ModuleT:
    """Build a module as ``LightningCLI`` does: notes of classes in its arguments become objects.

    Args:
        kind: its class.
        values: arguments of its constructor by name, as the file holds them.
        overrides: the caller's own arguments, which are trusted.
        stored: content of the file.
        allow: patterns of import paths that the file may name.

    Raises:
        ClassNotAllowedError: the file names another function than Lightning's, or a class that is not permitted.
        MismatchError: the arguments do not fit the constructor.
    """
    named = stored.record.hyper_parameters[INSTANTIATOR_KEY]
    if named not in _FUNCTIONS:
        raise ClassNotAllowedError(
            f"{stored.source} is to be built by {named!r}, which is not a function of Lightning and is not called"
        )
    refused = refused_paths(kind, {n: v for n, v in values.items() if n not in overrides}, allow)
    if refused:
        raise ClassNotAllowedError(_refusal(kind, stored, refused))
    package = lightning_package(kind)
    build = _lightnings_function(f"{package}.cli.instantiate_module" if package else named, stored)
    try:
        module: ModuleT = build(kind, dict(values))
    except argparse.ArgumentError as error:
        raise MismatchError(f"{kind.__qualname__} cannot be built from {stored.source}: {error}") from error
    return module


def _lightnings_function(path: str, stored: StoredModule) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        import_module("jsonargparse")
        function: Callable[..., Any] = getattr(import_module(module), name)
    except ImportError as error:
        raise MismatchError(
            f"{stored.source} was written by LightningCLI, and {error}: install lightning and jsonargparse[signatures]"
        ) from error
    return function


def _refusal(kind: type, stored: StoredModule, refused: Mapping[str, str]) -> str:
    paths = "; ".join(f"{name!r} is to be made from {path!r}" for name, path in refused.items())
    names = ", ".join(f"{name}=…" for name in refused)
    return (
        f"{kind.__qualname__} cannot be built from {stored.source}: {paths}. A file may name only modules, optimizers "
        f"and schedulers whose code is imported already. Import that code first; or give the objects as keywords "
        f"({names}); or, if you trust the file, allow what it names with allow={list(dict.fromkeys(refused.values()))}."
    )
