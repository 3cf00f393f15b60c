"""Imports modules whose names come from outside, so that whatever fails in them ends in one sentence."""

from __future__ import annotations

import traceback
from importlib import import_module
from types import ModuleType
from typing import Any

from lightning_compress.errors import ClassNotAllowedError


class NoSuchModuleError(ClassNotAllowedError):
    """There is no module of the name, or one of its packages is missing; no code of the module was run."""


def import_named(module: str, what: str) -> ModuleType:
    """Import a module by its absolute name.

    Args:
        module: such as ``package.module``.
        what: what names it, which begins the message.

    Raises:
        NoSuchModuleError: there is no such module, or the name has another form.
        ClassNotAllowedError: its code fails while it is imported, exits, or lacks a dependency.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise NoSuchModuleError(f"{what}: {module!r} is no name of a module, expected one such as package.module")
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise NoSuchModuleError(f"{what}: {error}. Install it, or run from the folder that holds it") from error
        raise ClassNotAllowedError(_failure(what, module, error)) from error
    except (Exception, SystemExit) as error:
        raise ClassNotAllowedError(_failure(what, module, error)) from error


def attribute_named(found: object, name: str, what: str) -> Any:
    """An attribute, whose look-up may run code of a module; None where there is none.

    Raises:
        ClassNotAllowedError: that code fails or exits.
    """
    try:
        return getattr(found, name, None)
    except (Exception, SystemExit) as error:
        raise ClassNotAllowedError(_failure(what, name, error)) from error


def _failure(what: str, name: str, error: BaseException) -> str:
    return f"{what}: importing {name} fails with {type(error).__name__}: {error}{_place(error)}. Correct that code"


def _place(error: BaseException) -> str:
    """File and line where an import failed, in parentheses; empty if neither is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})" if str(error.lineno) not in str(error) else f" ({error.filename})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
