"""Which classes the configuration in a file may name.

``LightningCLI`` notes modules as ``{"class_path": …, "init_args": {…}}``, and jsonargparse imports whatever such a note
names, also import paths that are a plain string, YAML in a string, and files that a string names. Hyper-parameters come
from a file that nobody has to trust, so everything that jsonargparse could import is checked before it sees it.

A path is permitted if a pattern of the caller allows it, or if it leads to a class of a module, an optimizer or a
learning rate scheduler that is imported already: building one of those is what loading a module means.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from torch import nn, optim

from lightning_compress.weights import matches_any

Reading = Literal["value", "any", "class"]  # what jsonargparse takes a text for, by the type of its argument
_SAFE = (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler)
_VALUES = (str, int, float, bool, complex, bytes, type(None))
_LIBRARY = ("builtins", "collections", "collections.abc")  # of containers
_WORD = re.compile(r"[\w +/-]*")
_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?")


def refused_paths(kind: type, values: Mapping[str, Any], allow: Sequence[str]) -> dict[str, str]:
    """Name of an argument → the first text in its value that may not be given to jsonargparse.

    Args:
        kind: the class whose constructor takes the arguments.
        values: the arguments by name, as a file holds them.
        allow: patterns of import paths that are allowed.
    """
    return dict(_Check(allow).arguments(kind, values))


def holds_note(value: Any) -> bool:
    """Whether a value is, or contains, a note of a class."""
    if isinstance(value, Mapping):
        return "class_path" in value or any(map(holds_note, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_note, value))


def imported_class(path: str) -> type | None:
    """The class of an import path if its module is imported already. Nothing is imported, also not lazily."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:cut]))
        if found is None:
            continue
        for name in parts[cut:]:
            found = vars(found).get(name) if isinstance(found, (type, types.ModuleType)) else None
        return found if isinstance(found, type) else None
    return None


@dataclass(frozen=True)
class _Check:
    allow: Sequence[str]

    def arguments(self, kind: type | None, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        readings = {} if kind is None else _readings(kind)
        for name, value in values.items():
            found = next(self.texts(value, readings.get(name, "class")), None)
            if "." in name or found is not None:  # jsonargparse takes a.b for the key b inside a
                yield name, name if found is None else found

    def texts(self, value: Any, reading: Reading) -> Iterator[str]:
        """The texts in a value that are not permitted."""
        if reading == "value":
            return
        if isinstance(value, str):
            if not (self.is_plain(value) if reading == "class" else _is_no_note(value)):
                yield value
        elif isinstance(value, (list, tuple, set)):
            for item in value:
                yield from self.texts(item, reading)
        elif isinstance(value, Mapping):
            yield from self.note(value) if "class_path" in value else self.items(value, reading)

    def items(self, values: Mapping[Any, Any], reading: Reading) -> Iterator[str]:
        for name, value in values.items():
            yield from self.texts(value, "class" if "." in str(name) else reading)

    def note(self, note: Mapping[Any, Any]) -> Iterator[str]:
        """Check ``{"class_path": …, "init_args": {…}}``."""
        path = note["class_path"]
        if not isinstance(path, str) or not (self.permits(path) or path.isidentifier()):
            yield str(path)
            return
        kind = imported_class(path)
        for name, value in note.items():
            if name in ("init_args", "dict_kwargs") and isinstance(value, Mapping):
                yield from (text for _, text in self.arguments(kind, value))
            elif name != "class_path":
                yield from self.texts(value, "class")

    def permits(self, path: str) -> bool:
        kind = imported_class(path)
        return matches_any(self.allow, path) or (kind is not None and issubclass(kind, _SAFE))

    def is_plain(self, text: str) -> bool:
        """Whether a text at a place where a class or function may stand imports nothing and reads no file."""
        if self.permits(text) or _NUMBER.fullmatch(text):
            return True
        return _WORD.fullmatch(text) is not None and not _is_path(text) and not _is_importable(text)


def _is_no_note(text: str) -> bool:
    """Whether YAML in the text of an untyped argument cannot hold a class path, also not with escapes."""
    return "class_path" not in text and not ("\\" in text and any(sign in text for sign in "{:?"))


def _is_path(text: str) -> bool:
    try:
        return Path(text).exists() if text else False
    except OSError:  # too long
        return False


def _is_importable(text: str) -> bool:
    if not text.isidentifier() or text in sys.modules:
        return text in sys.modules
    try:
        return importlib.util.find_spec(text) is not None
    except (ImportError, ValueError):
        return True


def _readings(kind: type) -> dict[str, Reading]:
    """Name of a constructor's argument → what jsonargparse takes its texts for; a name that is missing may be a class.

    With ``**kwargs``, the arguments of the next base class follow.
    """
    readings: dict[str, Reading] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        function = inspect.unwrap(vars(base)["__init__"])
        try:
            parameters, hints = inspect.signature(function).parameters.values(), typing.get_type_hints(function)
        except Exception:  # an annotation that cannot be evaluated, or a function without a signature
            break
        found = {p.name: _reading(hints.get(p.name, Any)) for p in parameters}
        readings = found | readings
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return readings


def _reading(annotation: Any) -> Reading:
    if annotation in (Any, object):
        return "any"
    if typing.get_origin(annotation) is Literal or annotation in _VALUES or _is_value_type(annotation):
        return "value"
    inner, origin = typing.get_args(annotation), typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and origin.__module__ in _LIBRARY and issubclass(origin, Collection):
        return _worst(inner) if inner else "any"
    if origin in (typing.Union, types.UnionType):
        return _worst(inner)
    return "class"


def _is_value_type(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, (Enum, Path))


def _worst(annotations: Sequence[Any]) -> Reading:
    readings = {_reading(annotation) for annotation in annotations if annotation is not Ellipsis}
    return "class" if "class" in readings else "any" if "any" in readings else "value"
