"""Format version 2: a compressed manifest, one U8 tensor for each large entry, and one for all small entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lightning_compress.archive.manifest import fields
from lightning_compress.archive.manifest.spec import Asset, Entry, Manifest, Part, StreamRecord
from lightning_compress.errors import FormatError

SMALL = "#small"
SMALL_BYTES = 1 << 16  # smaller entries share a tensor; a record in the header costs a thousandth of this
_LISTS = ("classes", "coders", "dtypes", "entries")
# Keys that a manifest may leave out, and their default values.
_OPTIONAL: dict[str, Callable[[], Any]] = {
    "assets": list,
    "class_path": lambda: None,
    "excluded": list,
    "fingerprint": str,
    "hyper_parameters": dict,
    "hyper_parameters_left_out": list,
    "metrics": dict,
    "plan": dict,
    "ties": dict,
}


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values; keys with default values are left out."""
    lists = {
        "classes": _distinct(entry.class_name for entry in manifest.entries),
        "coders": _distinct(stream.coder for entry in manifest.entries for stream in entry.streams),
        "dtypes": _distinct(entry.dtype for entry in manifest.entries),
    }
    numbers = {key: {name: number for number, name in enumerate(names)} for key, names in lists.items()}
    optional = {
        "assets": [
            [a.name, a.nbytes, a.stream.coder, a.stream.nbytes, a.coded_crc32 + a.crc32] for a in manifest.assets
        ],
        "class_path": manifest.class_path,
        "excluded": list(manifest.excluded),
        "fingerprint": manifest.fingerprint,
        "hyper_parameters": manifest.hyper_parameters,
        "hyper_parameters_left_out": list(manifest.hyper_parameters_left_out),
        "metrics": manifest.metrics,
        "plan": manifest.plan,
        "ties": {name: dict(vars(tie)) for name, tie in manifest.ties.items()},
    }
    kept = {key: value for key, value in optional.items() if value != _OPTIONAL[key]()}
    return kept | lists | {"entries": [_row(entry, numbers) for entry in manifest.entries]}


def from_json(body: Any) -> Manifest:  # Any: JSON, which the checks below narrow
    """Parse and check the manifest.

    Raises:
        FormatError: it is not what docs/format.md describes.
        VersionError: it uses a dtype, payload or coder that this version does not know.
    """
    given = set(fields.expect("manifest", body, dict))
    if not set(_LISTS) <= given or given - set(_LISTS) - set(_OPTIONAL):
        raise FormatError(
            f"manifest has the keys {sorted(given)}, expected {sorted(_LISTS)} and none but {sorted(_OPTIONAL)}"
        )
    lists = {key: fields.names(key, body[key]) for key in ("classes", "coders", "dtypes")}
    full = {key: make() for key, make in _OPTIONAL.items()} | body
    return fields.manifest_of(full, 2, lambda row: _entry(row, lists), _asset)


def records(manifest: Manifest) -> list[Part]:
    """Every tensor of the safetensors file, in the order of the file."""
    large = [Part(key, nbytes, (nbytes,)) for key, nbytes in manifest.parts() if nbytes >= SMALL_BYTES]
    small = sum(nbytes for _, nbytes in manifest.parts() if nbytes < SMALL_BYTES)
    return [*large, Part(SMALL, small, (small,))] if small else large


def order(manifest: Manifest) -> list[tuple[str, int]]:
    """Name and size of the coded bytes of each tensor and asset, in the order of the file: large, then small."""
    return sorted(manifest.parts(), key=lambda part: part[1] < SMALL_BYTES)


def _distinct(names: Iterable[str]) -> list[str]:
    """Each name once, in order of appearance."""
    return list(dict.fromkeys(names))


def _row(entry: Entry, numbers: dict[str, dict[str, int]]) -> list[Any]:
    return [
        entry.name,
        list(entry.shape),
        numbers["dtypes"][entry.dtype],
        numbers["classes"][entry.class_name],
        entry.payload,
        [value for stream in entry.streams for value in (numbers["coders"][stream.coder], stream.nbytes)],
        entry.zeros,
        entry.coded_crc32 + entry.crc32,
    ]


def _entry(row: object, lists: dict[str, tuple[str, ...]]) -> Entry:
    if not isinstance(row, list) or len(row) != 8:
        raise FormatError(f"an entry is {row!r}, expected a list of eight values")
    name = fields.expect("name", row[0], str)
    shape, dtype = fields.sizes(f"shape of {name!r}", row[1]), fields.dtype(name, _pick(lists, "dtypes", row[2]))
    payload, streams = fields.payload(name, row[4]), fields.expect("streams", row[5], list)
    expected = fields.stream_names(name, payload, shape, dtype)
    if len(streams) != 2 * len(expected):
        raise FormatError(
            f"tensor {name!r} has {len(streams)} values for its streams, expected two each for {expected}"
        )
    coders = [fields.coder(_pick(lists, "coders", number)) for number in streams[::2]]
    sizes = [fields.number("bytes", nbytes) for nbytes in streams[1::2]]
    coded_crc32, crc32 = _checksums(row[7])
    entry = Entry(
        name=name,
        shape=shape,
        dtype=dtype,
        class_name=_pick(lists, "classes", row[3]),
        payload=payload,
        streams=tuple(StreamRecord(*record) for record in zip(expected, coders, sizes, strict=True)),
        zeros=fields.number("zeros", row[6]),
        coded_crc32=coded_crc32,
        crc32=crc32,
    )
    return fields.check_zeros(entry)


def _asset(row: object) -> Asset:
    if not isinstance(row, list) or len(row) != 5:
        raise FormatError(f"an asset is {row!r}, expected a list of five values")
    name, nbytes = fields.expect("asset name", row[0], str), fields.number("asset bytes", row[1])
    stream = StreamRecord("bytes", fields.coder(row[2]), fields.number("bytes", row[3]))
    return Asset(name, nbytes, stream, *_checksums(row[4]))


def _pick(lists: dict[str, tuple[str, ...]], key: str, number: object) -> str:
    if type(number) is not int or not 0 <= number < len(lists[key]):
        raise FormatError(f"an entry names number {number!r} of the {len(lists[key])} {key} in the manifest")
    return lists[key][number]


def _checksums(value: object) -> tuple[str, str]:
    """The two checksums in one string: of the coded bytes and of the restored bytes."""
    text = fields.expect("checksums", value, str)
    return fields.crc(text[:8]), fields.crc(text[8:])
