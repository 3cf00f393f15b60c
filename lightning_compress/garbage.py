"""Pauses the garbage collector while many objects are made that all stay. Needs the standard library alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """A block without garbage collection: imports, or some seconds at most.

    A full collection looks at all objects of the process, a tenth of a second where torch is imported. Imports and
    parsers of large texts start several. Blocks of several threads may overlap: the collector is on again when the
    first of them ends, which only takes the others time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
