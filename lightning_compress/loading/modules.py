"""Builds modules from compressed files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, TypeVar

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.errors import MismatchError
from lightning_compress.loading.arguments import Signature, constructor_values
from lightning_compress.loading.classes.class_paths import holds_note
from lightning_compress.loading.installed_lightning import lightning_version
from lightning_compress.loading.instantiation import CLASS_KEY, INSTANTIATOR_KEY, class_to_build, instantiate
from lightning_compress.loading.left_out import tell_left_out
from lightning_compress.loading.state import load_weights
from lightning_compress.loading.stored_module import StoredModule

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def load_from_checkpoint(
    cls: Callable[..., ModuleT],
    path: str | PathLike[str],
    /,
    *,
    strict: bool | None = None,
    allow: Sequence[str] = (),
    max_bytes: int | None = None,
    **overrides: object,
) -> ModuleT:
    """Build a module from the hyper-parameters in a compressed file and load the file's weights.

    Works like ``LightningModule.load_from_checkpoint``, also for a plain ``nn.Module``. Hyper-parameters have the types
    and the order that they had. Those that the constructor does not accept are dropped. One that could not be stored
    exactly is asked for by name, also if the constructor has a default for it. Then ``configure_model`` and
    ``on_load_checkpoint`` are called if they exist; the latter gets ``state_dict``, ``hyper_parameters``, ``epoch``,
    ``global_step``, what ``on_save_checkpoint`` added, and ``assets`` (name → bytes). Tensors that were left out of the
    file keep the values from the constructor.

    Args:
        cls: class of the module, or a function that creates it.
        path: path or URL of a compressed file.
        strict: whether names must agree; shapes must agree in any case. By default the ``strict_loading`` of the
            module.
        allow: patterns of import paths that a file of ``LightningCLI`` may name, beyond modules, optimizers and
            schedulers that are imported already. Importing runs code.
        max_bytes: as for :meth:`Archive.open`.
        overrides: constructor arguments, which override those in the file. An argument whose name is one of the above
            is given as ``functools.partial(cls, strict=…)``.

    Returns:
        The module, on the device that its constructor uses.

    Raises:
        MismatchError: names or shapes differ, the file lacks an argument or a value that ``on_load_checkpoint`` reads,
            or ``strict`` contradicts the module's ``strict_loading``.
        ClassNotAllowedError: the file names a class that is neither imported nor allowed.
        FormatError: the file is damaged, has a newer format version, or is not a compressed file.
    """
    stored = StoredModule.of_archive(Archive.open(path, max_bytes=max_bytes), str(path))
    return build(cls, stored, overrides, strict=strict, allow=allow)


def build(
    factory: Callable[..., ModuleT],
    stored: StoredModule,
    overrides: Mapping[str, Any] | None = None,
    *,
    strict: bool | None = None,
    allow: Sequence[str] = (),
) -> ModuleT:
    """Build a module and load its tensors.

    Args:
        factory: class of the module, or a function that creates it.
        stored: content of a file.
        overrides: arguments of ``factory``, which override the hyper-parameters.
        strict: as for :func:`load_from_checkpoint`.
        allow: as for :func:`load_from_checkpoint`.

    Raises:
        MismatchError, ClassNotAllowedError: as for :func:`load_from_checkpoint`.
    """
    given = dict(overrides or {})
    module = _constructed(factory, stored, given, allow)
    strict = _strictness(module, strict)
    _call_hook(module, "configure_model")
    checkpoint = stored.as_checkpoint(lightning_version())
    checkpoint["hyper_parameters"] |= given
    checkpoint = stored.for_hook(checkpoint)
    _call_hook(module, "on_load_checkpoint", checkpoint)
    load_weights(module, checkpoint["state_dict"], excluded=stored.excluded, strict=strict, source=stored.source)
    tell_left_out(module, stored.excluded, stored.source)
    return module


def _constructed(
    factory: Callable[..., ModuleT], stored: StoredModule, overrides: dict[str, Any], allow: Sequence[str]
) -> ModuleT:
    while isinstance(factory, partial) and not factory.args:
        overrides = {**factory.keywords, **overrides}
        factory = factory.func
    is_cli = INSTANTIATOR_KEY in stored.record.hyper_parameters
    if is_cli and isinstance(factory, type):
        factory = class_to_build(factory, stored, allow)
    elif is_cli:
        stored = _without_notes(stored)
    signature = Signature.of(factory)
    values = constructor_values(signature, stored, overrides)
    own = {name: value for name, value in values.items() if name not in (INSTANTIATOR_KEY, CLASS_KEY)}
    if is_cli and isinstance(factory, type):
        return instantiate(factory, own, overrides, stored, allow)
    positional, keywords = signature.call_with(own)
    return factory(*positional, **keywords)


def _without_notes(stored: StoredModule) -> StoredModule:
    """A function gets no note of a class in place of the object: each is asked for by name."""
    record = stored.record
    notes = [name for name, value in record.hyper_parameters.items() if holds_note(value)]
    rest = {name: value for name, value in record.hyper_parameters.items() if name not in notes}
    left_out = (*record.hyper_parameters_left_out, *notes)
    return replace(stored, record=replace(record, hyper_parameters=rest, hyper_parameters_left_out=left_out))


def _strictness(module: nn.Module, strict: bool | None) -> bool:
    """Whether names must agree, by the argument and Lightning's switch ``strict_loading``, which must not differ."""
    own = bool(getattr(module, "strict_loading", True))
    if strict is None:
        return own
    if getattr(module, "_strict_loading", None) is not None and strict != own:
        raise MismatchError(
            f"strict={strict} contradicts {type(module).__qualname__}.strict_loading={own}: leave strict out, or set "
            "both to the same value"
        )
    return strict


def _call_hook(module: nn.Module, hook: str, *arguments: object) -> None:
    function = getattr(module, hook, None)
    if callable(function):
        function(*arguments)
