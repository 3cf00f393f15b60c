"""Imports the functions and classes that a user names on the command line."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_compress.errors import ClassNotAllowedError


def import_by_path(option: str, path: str) -> Any:
    """Import the object ``package.module:name``; modules in the working directory are found too.

    Importing runs code, so this is only for paths that the user wrote. Paths that a file contains are imported by
    :func:`~lightning_compress.loading.resolve_class`.

    Args:
        option: the command line option, for messages.
        path: import path of a module, a colon, and a name in it, which may contain dots.

    Raises:
        ClassNotAllowedError: the path has another form, or there is no such module or name.
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
