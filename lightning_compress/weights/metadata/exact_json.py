"""Python values ↔ JSON text, exactly: types, order of keys and non-finite numbers survive.

docs/format.md ("Values") is the specification. Only the listed types are held, by their exact type: a value of a
subclass (an enum that is a string, a named tuple, an attribute dictionary) would come back as another type.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

MAX_DEPTH = 64
MAX_BITS = 1024  # of a whole number
_MAX_EQUAL_HASHES = 100  # of different keys
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_NUMPY = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
_DTYPES = {str(v).removeprefix("torch."): v for v in vars(torch).values() if isinstance(v, torch.dtype)}


class NotHeldError(ValueError):
    """A value that the text cannot hold exactly, or text that is not what :func:`dump` writes."""


def dump(value: object) -> str:
    """The canonical text of a value: no white space, keys in the order of the dictionary.

    Raises:
        NotHeldError: the value, or one inside it, cannot be held exactly.
    """
    text = json.dumps(_to_json(value, 0), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotHeldError(f"half a surrogate pair: {error}") from error
    return text


def parse(text: str) -> Any:
    """The value of a text that :func:`dump` wrote.

    Raises:
        NotHeldError: :func:`dump` would not write this text.
    """
    try:
        value = _from_json(json.loads(text), 0)
        again = dump(value)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise NotHeldError(f"not the text of a value: {error}") from error
    if again != text:
        raise NotHeldError("not the text that a writer makes of its value")
    return value


def is_held(value: object) -> bool:
    """Whether :func:`dump` holds a value exactly."""
    try:
        dump(value)
    except (NotHeldError, RecursionError):
        return False
    return True


def _to_json(value: Any, depth: int) -> Any:  # Any: one of many types, told apart by isinstance, here and below
    if depth > MAX_DEPTH:
        raise NotHeldError(f"nested more than {MAX_DEPTH} levels deep")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return _limited(value)
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is list:
        return [_to_json(item, depth + 1) for item in value]
    if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _to_json(item, depth + 1) for key, item in value.items()}
    return _tagged(value, kind, depth)


def _tagged(value: Any, kind: type, depth: int) -> dict[str, Any]:
    if kind is tuple:
        return {"$tuple": [_to_json(item, depth + 1) for item in value]}
    if kind in (dict, OrderedDict):
        pairs = [[_key(key, depth), _to_json(item, depth + 1)] for key, item in _with_distinct_hashes(value.items())]
        return {"$dict" if kind is dict else "$ordered": pairs}
    if kind is torch.Size:
        return {"$size": [int(size) for size in value]}
    if kind is torch.dtype:
        return {"$dtype": str(value).removeprefix("torch.")}
    if isinstance(value, np.generic) and kind in (np.dtype(name).type for name in _NUMPY):
        return {"$numpy": [value.dtype.name, _to_json(value.item(), depth + 1)]}
    raise NotHeldError(f"a value of type {kind.__module__}.{kind.__qualname__}")


def _key(key: object, depth: int) -> Any:
    """A key of a dictionary; equal keys of different types (1, 1.0, True) cannot stand beside each other anyway."""
    if key is None or type(key) in (bool, int, float, str):
        return _to_json(key, depth + 1)
    raise NotHeldError(f"a key of type {type(key).__qualname__}")


def _limited(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise NotHeldError(f"a whole number of {value.bit_length()} bits")
    return value


def _from_json(value: object, depth: int) -> Any:
    if depth > 2 * MAX_DEPTH:
        raise NotHeldError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return [_from_json(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if not tag.startswith("$"):
        return {key: _from_json(item, depth + 1) for key, item in value.items()}
    if len(value) != 1 or tag not in _TAGS:
        raise NotHeldError(f"the unknown tag {tag!r}")
    return _TAGS[tag](_from_json(value[tag], depth + 1))


def _numpy(pair: Any) -> np.generic:
    name, value = pair
    if name not in _NUMPY:
        raise NotHeldError(f"the NumPy type {name!r}")
    with np.errstate(all="ignore"):  # what overflows is another text when it is written again
        scalar: np.generic = np.dtype(name).type(value)
    return scalar


def _with_distinct_hashes(pairs: Any) -> Any:
    """The pairs of a dictionary.

    Raises:
        NotHeldError: many keys have one hash, so that each would be compared with all others.
    """
    most = Counter(hash(key) for key, _ in pairs).most_common(1)
    if most and most[0][1] > _MAX_EQUAL_HASHES:
        raise NotHeldError(f"a dictionary with over {_MAX_EQUAL_HASHES} keys of one hash")
    return pairs


def _size(sizes: Any) -> torch.Size:
    if not all(type(size) is int and abs(size) < 1 << 63 for size in sizes):
        raise NotHeldError(f"the sizes {sizes!r}")
    return torch.Size(sizes)


_TAGS: Mapping[str, Callable[[Any], Any]] = {
    "$float": _NON_FINITE.__getitem__,
    "$tuple": tuple,
    "$dict": lambda pairs: dict(_with_distinct_hashes(pairs)),
    "$ordered": lambda pairs: OrderedDict(_with_distinct_hashes(pairs)),
    "$size": _size,
    "$dtype": _DTYPES.__getitem__,
    "$numpy": _numpy,
}
