"""Imports a class that a file names, only if the caller allows it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from lightning_compress.errors import ClassNotAllowedError
from lightning_compress.loading.classes.importing import NoSuchModuleError, attribute_named, import_named
from lightning_compress.weights import matches_as_written


def is_allowed(path: str, allow: Sequence[str]) -> bool:
    """Whether a pattern matches an import path as it is written, prefixes such as ``module.`` included."""
    return any(matches_as_written(pattern, path) for pattern in allow)


def resolve_class(class_path: str, allow: Sequence[str]) -> type[nn.Module]:
    """Import the ``torch.nn.Module`` class that a file names, if the caller allows it.

    The path in the file has to be allowed before anything is imported, and then the class that it leads to, by the
    module and name that it is defined under, unless the caller wrote out the very path. No attribute that is a module
    is followed.

    Args:
        class_path: import path, as in a manifest: ``package.module.Class``.
        allow: patterns of import paths that are allowed; ``*`` matches any characters.

    Raises:
        ClassNotAllowedError: no pattern matches, in which case nothing is imported; the class is defined where no
            pattern allows it; its import fails; or there is no such module class.
    """
    if not is_allowed(class_path, allow):
        raise ClassNotAllowedError(
            f"the file names the class {class_path!r}, which no allowed pattern matches: {list(allow)}. "
            f"Importing runs its code: if you trust it, allow it with allow=[{class_path!r}]."
        )
    found = _found(class_path)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ClassNotAllowedError(
            f"{class_path!r} leads to no torch.nn.Module class here: install or import the code that defines it, "
            "or give the class yourself (load_from_checkpoint(YourModule, path))"
        )
    own = _own_path(found)
    if class_path not in allow and not is_allowed(own, allow):
        raise ClassNotAllowedError(
            f"the file names the class {class_path!r}, which is {own!r}, and no allowed pattern matches that: "
            f"{list(allow)}. If you trust it, allow it too, with allow=[{class_path!r}, {own!r}]."
        )
    return found


def _found(class_path: str) -> Any:
    """What an import path leads to: a module, and names of classes in it; None if it leads nowhere."""
    what = f"the file names the class {class_path!r}"
    parts = class_path.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_named(".".join(parts[:cut]), what)
        except NoSuchModuleError:
            continue
        for name in parts[cut:]:
            found = attribute_named(found, name, what)
            if isinstance(found, ModuleType):
                return None
        return found
    return None


def _own_path(kind: type) -> str:
    """Module and name that a class is defined under, whatever a metaclass says."""
    module, name = (vars(type)[key].__get__(kind) for key in ("__module__", "__qualname__"))
    return f"{module}.{name}"
