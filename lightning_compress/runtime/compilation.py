"""Compiles loops with numba, and keeps the result on disk for later processes where that works.

Compiling takes seconds, loading the result milliseconds. numba raises what goes wrong with its cache: an entry that was
cut short by a power failure, a full disk, a folder without permissions. Here none of this is an error: the loops are
compiled again, a damaged entry is replaced, and one line of the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from lightning_compress.errors import MissingLibraryError
from lightning_compress.garbage import collection_paused

try:
    with collection_paused():
        import numba
except ModuleNotFoundError as error:
    raise MissingLibraryError(
        "a trellis quantizer, as in the presets small and smallest,", "numba", "search"
    ) from error

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
_log = logging.getLogger(__name__)
_told: list[Exception] = []


def compiled(function: F) -> F:
    """A function that is compiled at its first call, or loaded if an earlier process has compiled it.

    It runs without the interpreter's lock. Products and sums may be fused, so last bits depend on the machine.
    """
    return _compiled(function, {**_OPTIONS, "fastmath": {"contract"}})


def compiled_exactly(function: F) -> F:
    """The same with every operation rounded as IEEE 754 says: equal bits on every machine, for what files depend on."""
    return _compiled(function, _OPTIONS)


def _compiled(function: F, options: dict[str, Any]) -> F:
    try:
        dispatcher: Any = numba.njit(cache=True, **options)(function)
        dispatcher._cache = _TolerantCache(dispatcher._cache)
    except Exception as error:  # neither the package's folder nor the user's can be written
        _tell(error)
        dispatcher = numba.njit(**options)(function)
    done: F = dispatcher
    return done


class NumbaCache(Protocol):
    """What numba asks of the cache of one function."""

    def load_overload(self, signature: object, context: object) -> object:
        """The compiled function of a signature, None if there is none."""

    def save_overload(self, signature: object, compiled: object) -> None:
        """Keep a compiled function."""

    def flush(self) -> None:
        """Empty the index of the function."""


class _TolerantCache:
    """numba's cache of one function, whose failures are logged and otherwise act like a missing entry.

    Args:
        cache: numba's cache; everything that is not defined here is taken from it.
    """

    def __init__(self, cache: NumbaCache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> object:
        return getattr(self._cache, name)

    def load_overload(self, signature: object, context: object) -> object:
        """The compiled function of a signature; None if it must be compiled."""
        try:
            with collection_paused():  # the first call makes numba load its registries of types
                return self._cache.load_overload(signature, context)
        except Exception as error:
            self._forget(error)
            return None

    def save_overload(self, signature: object, compiled: object) -> None:
        """Keep a compiled function."""
        try:
            self._cache.save_overload(signature, compiled)
        except Exception as error:
            _tell(error)

    def _forget(self, error: Exception) -> None:
        """Empty the index of the function, so that what is compiled now takes the place of the damaged entry."""
        _tell(error)
        try:
            self._cache.flush()
        except Exception as failure:
            _log.debug("the damaged entry stays: %s", failure)


def _tell(error: Exception) -> None:
    """Log the first failure of this process; the others have the same cause."""
    if not _told:
        _told.append(error)
        _log.warning(
            "numba's cache of compiled loops cannot be used (%s: %s), so they are compiled again, which takes seconds; "
            "the result is the same. If this comes back, free some space, delete the cache, or let NUMBA_CACHE_DIR "
            "name a folder that can be written",
            type(error).__name__,
            error,
        )
