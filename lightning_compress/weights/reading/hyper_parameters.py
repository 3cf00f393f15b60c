"""Copies plain values out of a checkpoint that was read without running code; the others are skipped by name."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from lightning_compress.weights.reading.inert_pickle import Ordered, Placeholder, path_of
from lightning_compress.weights.reading.state_dicts import mapping_in, shown
from lightning_compress.weights.reading.tensor_records import DTYPES, looks_like_tensor

_log = logging.getLogger(__name__)
_MAX_TOTAL = 1 << 29  # bytes of all values,
_LEAST_TOTAL = 1 << 22  # and at most these,
_TOTAL_PER_BYTE = 100  # and these for each byte of the file
_MAX_BYTES = 1 << 27  # of one value as text; repeated references can make a short pickle far longer
_BYTES_PER_ITEM = 64
_MAX_DEPTH = 100  # levels of nested collections
_NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")
KEY = "hyper_parameters"


class _UnreadableError(Exception):
    """A value that cannot be copied; the message is the path of a class in it, or its size."""


def readable_entries(content: Mapping[Any, Any], path: str, file_bytes: int) -> dict[Any, Any]:
    """The entries of a checkpoint with plain values; one that cannot be read is a :class:`Placeholder`.

    The hyper-parameters are a mapping, in which each that cannot be read is a placeholder; the log names them.

    Args:
        content: the entries, without the state dict.
        path: the path of the checkpoint, for the log.
        file_bytes: its size, which limits what is copied.
    """
    copy = _Copy(min(_MAX_TOTAL, _LEAST_TOTAL + _TOTAL_PER_BYTE * file_bytes))
    own = {KEY: _hyper_parameters(content[KEY], path, copy)} if KEY in content else {}
    return {name: _readable(value, copy)[0] for name, value in content.items() if name != KEY} | own


def _hyper_parameters(value: object, path: str, copy: _Copy) -> Mapping[Any, Any]:
    entries, skipped = {}, []
    for name, item in _by_name(value).items():
        entries[name], reason = _readable(item, copy)
        if reason is not None:
            skipped.append(f"{shown(name)} ({reason})")
    if skipped:
        _log.warning("%s: skipped hyper-parameters that are not plain values: %s", path, ", ".join(skipped))
    return entries


def _by_name(value: object) -> Mapping[Any, Any]:
    """The hyper-parameters as a mapping: of a dictionary, a namespace, or a configuration of OmegaConf."""
    mapping = mapping_in(value)
    if mapping is not None:
        return mapping
    if isinstance(value, Placeholder) and isinstance(value.state, dict):
        if value.path in _NAMESPACES:
            return value.state
        if isinstance(content := value.state.get("_content"), dict):
            return content
    return {KEY: value} if isinstance(value, Placeholder) else getattr(value, "__dict__", {})


def _readable(value: object, copy: _Copy) -> tuple[Any, str | None]:
    """A copy of the value and None, or a placeholder and why it is skipped."""
    try:
        return copy.value(value), None
    except _UnreadableError as error:
        return Placeholder(), str(error)


class _Copy:
    """Copies the values of one file within a limit of bytes: what is in them twice is copied twice.

    Args:
        total: bytes that may be copied.
    """

    def __init__(self, total: int) -> None:
        self._total_left = total
        self._bytes_left = 0

    def value(self, value: object) -> Any:
        """The copy of one value.

        Raises:
            _UnreadableError: it cannot be copied, or too much has been copied.
        """
        self._bytes_left = allowed = min(_MAX_BYTES, self._total_left)
        try:
            return self.of(value, 0)
        finally:
            self._total_left -= allowed - max(self._bytes_left, 0)

    def of(self, value: Any, depth: int) -> Any:  # Any: one of many types, told apart by isinstance
        """The copy; values that are no collections are returned as they are."""
        path = path_of(value)
        if path in DTYPES and isinstance(value, type):
            return DTYPES[path]
        if path is not None:
            raise _UnreadableError("torch.Tensor" if looks_like_tensor(value) else path)
        self._bytes_left -= _BYTES_PER_ITEM + (len(value) if isinstance(value, (str, bytes, bytearray)) else 0)
        if self._bytes_left < 0 or depth > _MAX_DEPTH:
            raise _UnreadableError(f"more than {_MAX_BYTES >> 20} MiB or {_MAX_DEPTH} levels")
        if type(value) in (dict, Ordered, OrderedDict):
            pairs = ((self.of(key, depth + 1), self.of(item, depth + 1)) for key, item in value.items())
            return dict(pairs) if type(value) is dict else OrderedDict(pairs)
        if type(value) in (list, tuple, set, frozenset):
            return type(value)([self.of(item, depth + 1) for item in value])
        return value
