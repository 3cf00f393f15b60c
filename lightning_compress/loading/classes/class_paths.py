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
from dataclasses import dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from torch import nn, optim

from lightning_compress.loading.classes.allowed_classes import is_allowed

_SAFE = (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler)
_VALUES = (str, int, float, bool, complex, bytes, type(None))
_LIBRARY = ("builtins", "collections", "collections.abc")  # of containers
_WORD = re.compile(r"(?:[\w+/][\w +/-]*)?")
_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?")


@dataclass(frozen=True)
class _Reading:
    """What jsonargparse takes a value for, by the type of its argument.

    Attributes:
        level: 0 if texts in it are only texts, 1 if only a note is more than a value, 2 if a text may name code.
        kind: the class that a dictionary without ``class_path`` is built to; None if that is not known.
    """

    level: Literal[0, 1, 2]
    kind: type | None = None


_UNKNOWN = _Reading(2)


def refused_paths(kind: type, values: Mapping[str, Any], allow: Sequence[str]) -> dict[str, str]:
    """Name of an argument → the first text in its value that may not be given to jsonargparse.

    Args:
        kind: the class whose constructor takes the arguments.
        values: the arguments by name, as a file holds them.
        allow: patterns of import paths that are allowed.
    """
    return dict(_Check(allow).arguments(kind, values))


def holds_note(value: object) -> bool:
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
            found = next(self.texts(value, readings.get(name, _UNKNOWN)), None)
            if "." in name or found is not None:  # jsonargparse takes a.b for the key b inside a
                yield name, name if found is None else found

    def texts(self, value: object, reading: _Reading) -> Iterator[str]:
        """The texts in a value that are not permitted."""
        if reading.level == 0:
            return
        if isinstance(value, str):
            if not (self.is_plain(value) if reading.level == 2 else _is_no_note(value)):
                yield value
        elif isinstance(value, (list, tuple, set)):
            for item in value:
                yield from self.texts(item, reading)
        elif isinstance(value, Mapping) and "class_path" in value:
            yield from self.note(value)
        elif isinstance(value, Mapping) and reading.kind is not None:
            yield from (text for _, text in self.arguments(reading.kind, value))
        elif isinstance(value, Mapping):
            for name, item in value.items():
                yield from self.texts(item, _UNKNOWN if "." in str(name) else reading)

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
                yield from self.texts(value, _UNKNOWN)

    def permits(self, path: str) -> bool:
        kind = imported_class(path)
        return is_allowed(path, self.allow) or (kind is not None and issubclass(kind, _SAFE))

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


def _readings(kind: type) -> dict[str, _Reading]:
    """Name of a constructor's argument → what jsonargparse takes its texts for; a name that is missing may be a class.

    With ``**kwargs``, the arguments of the next base class follow.
    """
    readings: dict[str, _Reading] = {}
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


def _reading(annotation: object) -> _Reading:
    if annotation in (Any, object):
        return _Reading(1)
    if typing.get_origin(annotation) is Literal or annotation in _VALUES or _is_value_type(annotation):
        return _Reading(0)
    inner, origin = typing.get_args(annotation), typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and origin.__module__ in _LIBRARY and issubclass(origin, Collection):
        return _worst(inner) if inner else _Reading(1)
    if origin in (typing.Union, types.UnionType):
        return _worst(inner)
    return _Reading(2, annotation if is_dataclass(annotation) and isinstance(annotation, type) else None)


def _is_value_type(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, (Enum, Path))


def _worst(annotations: Sequence[Any]) -> _Reading:
    """The reading of a type that is composed of others."""
    readings = [_reading(annotation) for annotation in annotations if annotation is not Ellipsis]
    strictest = [one for one in readings if one.level == max(each.level for each in readings)]
    return strictest[0] if len(set(strictest)) == 1 else _Reading(max((each.level for each in readings), default=1))
