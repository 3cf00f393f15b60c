"""Imports a class that a file names, only if the caller allows it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from lightning_compress.errors import ClassNotAllowedError
from lightning_compress.weights import matches_any


def resolve_class(class_path: str, allow: Sequence[str]) -> type[nn.Module]:
    """Import the ``torch.nn.Module`` class that a file names, if the caller allows it.

    Args:
        class_path: import path, as in a manifest: ``package.module.Class``.
        allow: patterns of import paths that are allowed; ``*`` matches any characters.

    Raises:
        ClassNotAllowedError: no pattern matches, in which case nothing is imported; or there is no such module class.
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
