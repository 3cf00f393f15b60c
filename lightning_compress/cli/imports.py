"""Imports the functions and classes that a user names on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lightning_compress.errors import ClassNotAllowedError
from lightning_compress.loading.classes.importing import attribute_named, import_named


def import_by_path(option: str, path: str, *, is_called: bool = True) -> Any:
    """Import the object ``package.module:name``; modules in the working directory are found too.

    Importing runs code, so this is only for paths that the user wrote. Paths that a file contains are imported by
    :func:`~lightning_compress.loading.resolve_class`.

    Args:
        option: the command line option, for messages.
        path: import path of a module, a colon, and a name in it, which may contain dots.
        is_called: whether it has to be a class or function.

    Raises:
        ClassNotAllowedError: the path has another form, there is no such module or name, the module cannot be imported,
            or the object is no class or function.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ClassNotAllowedError(f"{option} is {path!r}, expected package.module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    what = f"{option} {path!r}"
    found: Any = import_named(module, what)
    for part in name.split("."):
        found = attribute_named(found, part, what)
    if found is None:
        raise ClassNotAllowedError(f"{what}: there is no {name!r} in {module}")
    if is_called and not callable(found):
        raise ClassNotAllowedError(f"{what}: {name} is of type {type(found).__name__}, expected a class or a function")
    return found
