"""Functions and classes that a user names on the command line."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_compress.errors import ClassNotAllowedError


def named_by_user(option: str, path: str) -> Any:
    """Import what ``package.module:name`` stands for; modules are also looked for in the working directory.

    Only for what the user wrote: importing runs code, so what a file names goes through
    :func:`~lightning_compress.loading.modules.resolve_class`.

    Args:
        option: the option it was given for, for messages.
        path: import path of a module, a colon, and the name in it, dots allowed.

    Raises:
        ClassNotAllowedError: it is not of that form, or leads to nothing that can be called.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ClassNotAllowedError(f"{option} is {path!r}, expected package.module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        raise ClassNotAllowedError(
            f"{option} {path!r}: {error}. Install it, or run from the folder that holds it"
        ) from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ClassNotAllowedError(f"{option} {path!r}: there is no {name!r} in {module}")
    return found
