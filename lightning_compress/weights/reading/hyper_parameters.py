"""Reads the hyper-parameters of a checkpoint; those that would need code to be read are skipped by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_compress.weights.reading.inert_pickle import Placeholder, path_of
from lightning_compress.weights.reading.state_dicts import mapping_in

_log = logging.getLogger(__name__)
_MAX_BYTES = 1 << 27  # of one hyper-parameter as text; repeated references can make a short pickle far longer
_BYTES_PER_ITEM = 64
_MAX_DEPTH = 1000  # levels of nested collections
_NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")


def readable_hyper_parameters(value: Any, path: str) -> Mapping[Any, Any] | None:
    """The hyper-parameters by name; one that cannot be read is a :class:`Placeholder`.

    Args:
        value: what the checkpoint has under ``hyper_parameters``.
        path: the path of the checkpoint, for the log, which names what is skipped.
    """
    if value is None:
        return None
    by_name = _by_name(value)
    skipped = {name: reason for name, item in by_name.items() if (reason := _unreadable(item)) is not None}
    if skipped:
        listed = ", ".join(f"{name} ({reason})" for name, reason in skipped.items())
        _log.warning("%s: skipped hyper-parameters that only code can read: %s", path, listed)
    return {name: Placeholder() if name in skipped else item for name, item in by_name.items()}


def _by_name(value: Any) -> Mapping[Any, Any]:
    """The hyper-parameters as a mapping: of a dictionary, a namespace, or a configuration of OmegaConf."""
    mapping = mapping_in(value)
    if mapping is not None:
        return mapping
    if isinstance(value, Placeholder) and isinstance(value.state, dict):
        if value.path in _NAMESPACES:
            return value.state
        if isinstance(content := value.state.get("_content"), dict):
            return content
    return {"hyper_parameters": value} if isinstance(value, Placeholder) else getattr(value, "__dict__", {})


def _unreadable(value: Any) -> str | None:
    """Why a hyper-parameter is skipped: the path of a class in it, or its size; None if it is readable."""
    nbytes = 0
    waiting = [iter((value,))]
    while waiting:
        part = next(waiting[-1], waiting)
        if part is waiting:
            waiting.pop()
            continue
        if (path := path_of(part)) is not None:
            return path
        nbytes += _BYTES_PER_ITEM + (len(part) if isinstance(part, (str, bytes, bytearray)) else 0)
        if nbytes > _MAX_BYTES or len(waiting) > _MAX_DEPTH:
            return f"more than {_MAX_BYTES >> 20} MiB or {_MAX_DEPTH} levels"
        waiting.append(_items(part))
    return None


def _items(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        return iter([*part.keys(), *part.values()])
    return iter(part if isinstance(part, (list, tuple, set, frozenset)) else ())
