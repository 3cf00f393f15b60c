"""Checks of manifest values that all format versions share; every value is checked before it is used."""

from __future__ import annotations

import math
import re
from typing import Any

from lightning_compress.archive.manifest.spec import MAX_ELEMENTS, Entry, Manifest
from lightning_compress.coding import CODERS
from lightning_compress.errors import FormatError, VersionError
from lightning_compress.quantize import DTYPES, PAYLOADS
from lightning_compress.weights import MAX_DIMENSIONS, Tie

_CRC = re.compile("[0-9a-f]{8}", re.ASCII)


def expect(what: str, value: Any, kind: type | tuple[type, ...], keys: set[str] | None = None) -> Any:
    """Check that a value has this type, and if ``keys`` is given, exactly these keys.

    Raises:
        FormatError: the type or the keys differ.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise FormatError(f"{what} in the manifest is {type(value).__name__}, expected {kind}")
    given: set[str] = set(value) if keys is not None and isinstance(value, dict) else set()
    if keys is not None and given != keys:
        raise FormatError(f"{what} in the manifest has the keys {sorted(given)}, expected {sorted(keys)}")
    return value


def names(what: str, value: Any) -> tuple[str, ...]:
    """Check a list of names."""
    return tuple(expect(what, name, str) for name in expect(what, value, list))


def number(what: str, value: Any) -> int:
    """Check a whole number from 0 to 2⁴⁸."""
    if type(value) is not int or not 0 <= value <= MAX_ELEMENTS:
        raise FormatError(f"{what} in the manifest is {value!r}, expected a whole number")
    return value


def sizes(what: str, value: Any) -> tuple[int, ...]:
    """Check the shape of a tensor: at most 64 dimensions and 2⁴⁸ elements."""
    result = tuple(expect(what, value, list))
    if len(result) > MAX_DIMENSIONS:
        raise FormatError(f"{what} in the manifest has {len(result)} sizes, larger than any tensor")
    if not all(type(size) is int for size in result) or (
        result and not 0 <= min(result) <= max(result) <= MAX_ELEMENTS
    ):
        raise FormatError(f"{what} in the manifest is {value!r}, expected whole numbers up to {MAX_ELEMENTS}")
    if math.prod(filter(None, result)) > MAX_ELEMENTS:
        raise FormatError(f"{what} in the manifest is {value!r}, larger than any tensor")
    return result


def crc(value: Any) -> str:
    """Check a CRC-32 of eight hexadecimal digits."""
    if not isinstance(value, str) or _CRC.fullmatch(value) is None:
        raise FormatError(f"a checksum in the manifest is {value!r}, expected eight hexadecimal digits")
    return value


def coder(value: Any) -> str:
    """Check that this version knows a coder.

    Raises:
        VersionError: the coder is unknown.
    """
    if expect("coder", value, str) not in CODERS:
        raise VersionError(f"a stream has the coder {value!r}, this version knows {', '.join(CODERS)}")
    return str(value)


def dtype(tensor: str, value: Any) -> str:
    """Check that this torch knows a dtype.

    Raises:
        VersionError: the dtype is unknown.
    """
    if expect("dtype", value, str) not in DTYPES:
        raise VersionError(f"tensor {tensor!r} has dtype {value!r}, which this torch does not know")
    return str(value)


def payload(tensor: str, value: Any) -> dict[str, Any]:
    """Check that this version knows the kind of a payload; its parameters are not checked yet.

    Raises:
        VersionError: the kind is unknown.
    """
    kind = expect("payload kind", expect("payload", value, dict).get("kind"), str)
    if kind not in PAYLOADS:
        raise VersionError(
            f"tensor {tensor!r} has a payload of kind {kind!r}, this version knows {', '.join(PAYLOADS)}"
        )
    return dict(value)


def stream_names(tensor: str, kind: dict[str, Any], shape: tuple[int, ...], dtype_name: str) -> list[str]:
    """The names of the streams of a payload with these parameters.

    Raises:
        FormatError: a parameter has a wrong type or range.
    """
    try:
        return list(PAYLOADS[kind["kind"]].layout(kind, math.prod(shape), DTYPES[dtype_name]))
    except TypeError as error:
        raise FormatError(f"tensor {tensor!r} has a parameter of a wrong type: {error}") from error


def check_zeros(entry: Entry) -> Entry:
    """Check that an entry has no more zeros than elements."""
    if entry.zeros > entry.elements:
        raise FormatError(f"tensor {entry.name!r} has {entry.elements} elements, and {entry.zeros} of them are 0")
    return entry


def tie(value: Any) -> Tie:
    """Check and parse a tie: a view of another tensor."""
    expect("tie", value, dict, {"of", "offset", "shape", "stride"})
    shape, stride = sizes("shape of a tie", value["shape"]), sizes("stride of a tie", value["stride"])
    if len(shape) != len(stride):
        raise FormatError(f"a tie has {len(shape)} sizes and {len(stride)} strides")
    return Tie(expect("of", value["of"], str), number("offset", value["offset"]), shape, stride)


def check_names(manifest: Manifest) -> Manifest:
    """Check that no name is repeated, and that every tie lies within the tensor it is a view of.

    Raises:
        FormatError: a name is repeated, or a tie exceeds its tensor.
    """
    keys = [key for key, _ in manifest.parts()]
    if len(set(manifest.names)) != len(manifest.names) or len(set(keys)) != len(keys):
        raise FormatError("the name of a tensor or asset stands twice in the manifest")
    elements = {entry.name: entry.elements for entry in manifest.entries}
    for name, view in manifest.ties.items():
        extent = view.offset + sum(max(n - 1, 0) * s for n, s in zip(view.shape, view.stride, strict=True))
        if view.of not in elements or extent >= elements[view.of]:
            raise FormatError(f"{name!r} is tied to {view.of!r} beyond its elements, or to no stored tensor")
    return manifest
