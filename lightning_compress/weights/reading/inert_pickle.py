"""Unpickles without running any code that the pickle names: nothing is imported, looked up or called.

Every class and function becomes a :class:`Placeholder` that records how it was used. Tensors stay records too; those
that are needed are built from them later (:mod:`~lightning_compress.weights.reading.tensor_records`).
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from lightning_compress.errors import WeightsError

_MAX_NAMES = 10_000  # distinct classes and functions in one file; each becomes a class in memory
_NAME = re.compile(r"[\w.<>]{1,160}")
_NUMBER = re.compile(r"[biuf][1248]")  # NumPy's codes of booleans, integers and floating-point numbers


class Placeholder:
    """Stands for an object, a class or a function of a pickle; it records what it is given and does nothing.

    Attributes:
        path: import path of the class or function.
        arguments: what it was called with.
        state: the state that the object was given.
        entries: the items that were assigned to it, as to a dictionary.
    """

    __slots__ = ("arguments", "entries", "state")
    path: ClassVar[str] = ""
    arguments: tuple[Any, ...]
    state: Any
    entries: dict[Any, Any]

    def __new__(cls, *arguments: object, **_: object) -> Any:
        """Record the arguments, except those by keyword."""
        placeholder = object.__new__(cls)
        placeholder.arguments, placeholder.state, placeholder.entries = arguments, None, {}
        return placeholder

    def __call__(self, *arguments: object) -> Any:
        """Another placeholder: what a pickle calls may be the result of a call, such as a partial function."""
        return type(self)(*arguments)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def append(self, item: object) -> None:
        """Ignore an item of a list."""

    def extend(self, items: object) -> None:
        """Ignore items of a list."""

    def add(self, item: object) -> None:
        """Ignore an item of a set."""


class Ordered(dict[Any, Any]):
    """Stands for an ``OrderedDict``; its attributes, such as the metadata of a state dict, are ignored."""

    __slots__ = ()

    def __init__(self, pairs: Any = ()) -> None:
        """Take the pairs that Python 2 gives to the class; later versions set items.

        Raises:
            WeightsError: a key is a tuple, whose hash can take any time.
        """
        pairs = [tuple(pair) for pair in pairs]
        if any(isinstance(part, tuple) for pair in pairs for part in pair[:1]):
            raise WeightsError("has a pickle with an OrderedDict made of pairs whose keys are tuples")
        super().__init__(pairs)

    def __setstate__(self, state: object) -> None: ...


class StorageRecord(NamedTuple):
    """The storage of a tensor: the type it was saved with, its key in the file and its number of elements."""

    type_path: str
    key: str
    elements: int


class _Latin1(Placeholder):
    """``_codecs.encode``, as which old pickle protocols write bytes."""

    __slots__ = ()
    path = "_codecs.encode"

    def __new__(cls, *arguments: object, **_: object) -> Any:
        """The bytes."""
        if len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
            return arguments[0].encode("latin1")
        return super().__new__(cls, *arguments)


class _NumpyScalar(Placeholder):
    """A number of NumPy, which is rebuilt from its bytes."""

    __slots__ = ()
    path = "numpy.scalar"

    def __new__(cls, *arguments: object, **_: object) -> Any:
        """The number."""
        number = _number(*arguments) if len(arguments) == 2 else None
        return super().__new__(cls, *arguments) if number is None else number


def _number(dtype: Any, data: Any) -> np.generic | None:
    """The number; None if it is none. ``dtype`` is a placeholder of ``numpy.dtype``."""
    code = dtype.arguments[0] if isinstance(dtype, Placeholder) and dtype.arguments else None
    if type(code) is not str or not _NUMBER.fullmatch(code) or type(data) is not bytes:
        return None
    order = dtype.state[1] if type(dtype.state) is tuple and len(dtype.state) > 1 else "<"
    values = np.frombuffer(data, np.dtype(code).newbyteorder(">" if order == ">" else "<"))
    number: np.generic | None = values.astype(np.dtype(code))[0] if values.size == 1 else None
    return number


_KNOWN: dict[str, type] = {
    "collections.OrderedDict": Ordered,
    "torch.Size": torch.Size,
    "_codecs.encode": _Latin1,
    "numpy.core.multiarray.scalar": _NumpyScalar,
    "numpy._core.multiarray.scalar": _NumpyScalar,
}


class InertUnpickler(pickle.Unpickler):
    """Unpickles plain values; everything else becomes placeholders and storage records.

    Attributes:
        storages: the records of the storages that the pickle refers to, by key.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._placeholders: dict[str, type] = {}
        self.storages: dict[str, StorageRecord] = {}

    def find_class(self, module: str, name: str) -> type:
        """The placeholder of a name; nothing is imported."""
        path = f"{module}.{name}"
        if path in _KNOWN:
            return _KNOWN[path]
        if path not in self._placeholders:
            if len(self._placeholders) == _MAX_NAMES:
                raise WeightsError(f"names more than {_MAX_NAMES} classes and functions")
            shown = path if _NAME.fullmatch(path) else repr(path[:160])
            self._placeholders[path] = type("Placeholder", (Placeholder,), {"__slots__": (), "path": shown})
        return self._placeholders[path]

    def persistent_load(self, pid: Any) -> Any:  # Any: what the pickle says, which the lines below check
        """The record of a storage; ``pid`` is a tuple that ``torch.save`` wrote."""
        kind = pid[0].decode() if isinstance(pid[0], bytes) else pid[0]
        if kind == "module":  # files of torch before 1.6: a class and its source text
            return pid[1]
        _, storage_type, key, _, elements = pid[:5]
        is_key = type(key) in (str, int)
        if kind != "storage" or not is_key or type(elements) is not int or any(part is not None for part in pid[5:]):
            raise WeightsError("has a pickle that refers to something else than storages")
        self.storages[str(key)] = StorageRecord(str(path_of(storage_type)), str(key), elements)
        return self.storages[str(key)]


def path_of(value: object) -> str | None:
    """The import path of a placeholder, as instance or as class; None for other values."""
    if isinstance(value, Placeholder) or (isinstance(value, type) and issubclass(value, Placeholder)):
        return value.path
    return None
