"""Whether loops can be compiled here."""

from __future__ import annotations

import logging
from functools import cache

_log = logging.getLogger(__name__)


@cache
def has_compiler() -> bool:
    """Whether numba is installed and can be loaded; where it is not, arrays take the place of compiled loops.

    A process with too little memory cannot load it.
    """
    try:
        import numba  # noqa: F401
    except (ImportError, OSError, MemoryError) as error:
        _log.info("numba cannot be loaded (%s), so files are read and written several times slower", error)
        return False
    return True
