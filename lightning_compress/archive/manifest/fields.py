"""Checks of manifest values that all format versions share; every value is checked before it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from lightning_compress.archive.manifest.spec import MAX_ELEMENTS, Asset, Entry, Manifest
from lightning_compress.coding import CODERS
from lightning_compress.errors import FormatError, VersionError
from lightning_compress.quantize import DTYPES, PAYLOADS
from lightning_compress.weights import MAX_DIMENSIONS, Tie

_CRC = re.compile("[0-9a-f]{8}", re.ASCII)


def expect(what: str, value: object, kind: type | tuple[type, ...], keys: set[str] | None = None) -> Any:
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


def names(what: str, value: object) -> tuple[str, ...]:
    """Check a list of names."""
    return tuple(expect(what, name, str) for name in expect(what, value, list))


def number(what: str, value: object) -> int:
    """Check a whole number from 0 to 2⁴⁸."""
    if type(value) is not int or not 0 <= value <= MAX_ELEMENTS:
        raise FormatError(f"{what} in the manifest is {value!r}, expected a whole number")
    return value


def sizes(what: str, value: object) -> tuple[int, ...]:
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


def crc(value: object) -> str:
    """Check a CRC-32 of eight hexadecimal digits."""
    if not isinstance(value, str) or _CRC.fullmatch(value) is None:
        raise FormatError(f"a checksum in the manifest is {value!r}, expected eight hexadecimal digits")
    return value


def coder(value: object) -> str:
    """Check that this version knows a coder.

    Raises:
        VersionError: the coder is unknown.
    """
    if expect("coder", value, str) not in CODERS:
        raise VersionError(f"a stream has the coder {value!r}, this version knows {', '.join(CODERS)}")
    return str(value)


def dtype(tensor: str, value: object) -> str:
    """Check that this torch knows a dtype.

    Raises:
        VersionError: the dtype is unknown.
    """
    if expect("dtype", value, str) not in DTYPES:
        raise VersionError(f"tensor {tensor!r} has dtype {value!r}, which this torch does not know")
    return str(value)


def payload(tensor: str, value: object) -> dict[str, Any]:
    """Check that this version knows the kind of a payload; its parameters are not checked yet.

    Raises:
        VersionError: the kind is unknown.
    """
    given: dict[str, Any] = expect("payload", value, dict)
    kind = expect("payload kind", given.get("kind"), str)
    if kind not in PAYLOADS:
        raise VersionError(
            f"tensor {tensor!r} has a payload of kind {kind!r}, this version knows {', '.join(PAYLOADS)}"
        )
    return dict(given)


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


def tie(value: object) -> Tie:
    """Check and parse a tie: a view of another tensor."""
    given = expect("tie", value, dict, {"of", "offset", "shape", "stride"})
    shape, stride = sizes("shape of a tie", given["shape"]), sizes("stride of a tie", given["stride"])
    if len(shape) != len(stride):
        raise FormatError(f"a tie has {len(shape)} sizes and {len(stride)} strides")
    return Tie(expect("of", given["of"], str), number("offset", given["offset"]), shape, stride)


def manifest_of(
    body: Mapping[str, Any], version: int, entry_of: Callable[[Any], Entry], asset_of: Callable[[Any], Asset]
) -> Manifest:
    """Check the manifest of version 1 or 2, which differ in their entries and assets.

    Args:
        body: the manifest, with every key.
        version: of the format.
        entry_of: checks an entry.
        asset_of: checks an asset.

    Raises:
        FormatError: a value is not what docs/format.md describes.
        VersionError: it uses a dtype, payload or coder that this version does not know.
    """
    return check_names(
        Manifest(
            entries=tuple(entry_of(entry) for entry in expect("entries", body["entries"], list)),
            ties={name: tie(value) for name, value in expect("ties", body["ties"], dict).items()},
            excluded=names("excluded", body["excluded"]),
            class_path=expect("class_path", body["class_path"], (str, type(None))),
            hyper_parameters=expect("hyper_parameters", body["hyper_parameters"], dict),
            hyper_parameters_left_out=names("hyper_parameters_left_out", body["hyper_parameters_left_out"]),
            plan=expect("plan", body["plan"], dict),
            metrics=expect("metrics", body["metrics"], dict),
            fingerprint=expect("fingerprint", body["fingerprint"], str),
            assets=tuple(asset_of(asset) for asset in expect("assets", body["assets"], list)),
            format_version=version,
        )
    )


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
