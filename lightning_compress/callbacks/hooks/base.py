"""Which of Lightning's two packages this process uses; both are never imported together."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from lightning_compress.errors import MissingLibraryError

_NAMES = ("lightning.pytorch", "pytorch_lightning")


def lightning_name() -> str:
    """``lightning.pytorch`` or ``pytorch_lightning``: the one already imported, else the one installed.

    Raises:
        MissingLibraryError: neither is installed.
    """
    for name in (*filter(_is_imported, _NAMES), *filter(_is_installed, _NAMES)):
        return name
    raise MissingLibraryError("a callback", "Lightning, as pytorch-lightning or lightning", "lightning")


def callback_class() -> type:
    """Lightning's ``Callback``."""
    found: type = import_module(lightning_name()).Callback
    return found


def _is_imported(name: str) -> bool:
    return name in sys.modules


def _is_installed(name: str) -> bool:
    return find_spec(name.partition(".")[0]) is not None
