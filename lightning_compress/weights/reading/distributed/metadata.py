"""The metadata of a folder of ``torch.distributed.checkpoint``: which bytes of which file hold which part of a tensor.

It is a pickle of dataclasses (``torch/distributed/checkpoint/metadata.py``), of which only the fields are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from lightning_compress.errors import WeightsError
from lightning_compress.weights.reading.inert_pickle import InertUnpickler, Placeholder, path_of
from lightning_compress.weights.reading.state_dicts import shown
from lightning_compress.weights.reading.tensor_records import DTYPES
from lightning_compress.weights.storable.state_dict import MAX_DIMENSIONS

Key = tuple[str | int, ...]  # keys of nested dictionaries, and positions in lists
_PACKAGE = "torch.distributed."
_MAX_LEVELS = 100
_NAME_SYMBOLS = set("/\\\0")


class Place(NamedTuple):
    """The bytes of one object, as ``torch.save`` writes it, in a file of the folder."""

    file: str
    start: int
    nbytes: int


class Piece(NamedTuple):
    """A box of a tensor: where it begins in the tensor, its sizes, and where its values are."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Place


class StoredTensor(NamedTuple):
    """A tensor whose pieces fill it without gap or overlap."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]


def read_metadata(pickled: bytes) -> dict[Key, StoredTensor | Place]:
    """What the folder holds, in the order of the saved dictionary: tensors, and the places of other values.

    Args:
        pickled: a pickle that :func:`~lightning_compress.weights.reading.opcodes.checked_pickle` returned.

    Raises:
        WeightsError: it is of another kind, or pieces are missing, overlap or cannot be read; no subject.
    """
    fields = _fields(InertUnpickler(pickled).load(), "Metadata")
    kinds, keys = fields["state_dict_metadata"], fields.get("planner_data")
    places = {_index(index): _place(info) for index, info in fields["storage_data"].items()}
    tensors = {
        name: _fields(kind, "TensorStorageMetadata")
        for name, kind in kinds.items()
        if not str(path_of(kind)).endswith(".BytesStorageMetadata")
    }
    names = {name: _key(name, keys) for name in _names(kinds, keys)}
    # Each piece and each part of a key takes more than one byte, unless it is referred to again and again.
    if sum(map(len, names.values())) + sum(len(tensor["chunks"]) for tensor in tensors.values()) > len(pickled):
        raise WeightsError("repeats its pieces far more often than its size explains: it is damaged")
    return {
        key: _tensor(name, tensors[name], places) if name in tensors else _found(places, name, None)
        for name, key in names.items()
    }


def _names(kinds: Mapping[str, Any], keys: object) -> list[str]:
    """Names in the order of the dictionary that was saved; that of ``kinds`` depends on which rank saved what."""
    first = [name for name in keys if name in kinds] if isinstance(keys, dict) else []
    listed = set(first)
    return first + [name for name in kinds if name not in listed]


def _fields(value: Any, kind: str) -> dict[str, Any]:  # Any: what the pickle says, which is checked here
    path = path_of(value)
    if not isinstance(value, Placeholder) or not str(path).startswith(_PACKAGE) or str(path).split(".")[-1] != kind:
        raise WeightsError(f"holds a {path or type(value).__name__}, expected {kind} of torch.distributed.checkpoint")
    if not isinstance(value.state, dict):
        raise WeightsError(f"holds a {kind} without fields: it is damaged")
    return value.state


def _index(index: object) -> tuple[str, tuple[int, ...] | None]:
    fields = _fields(index, "MetadataIndex")
    offset = fields.get("offset")
    return str(fields["fqn"]), None if offset is None else tuple(offset)


def _place(info: object) -> Place:
    fields = _fields(info, "_StorageInfo")
    file, start, nbytes = fields["relative_path"], fields["offset"], fields["length"]
    if not isinstance(file, str) or not file.strip(".") or _NAME_SYMBOLS & set(file):
        raise WeightsError(f"names the file {shown(file)}, expected one in its folder")
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in (start, nbytes)):
        raise WeightsError(f"names impossible bytes of {shown(file)}: it is damaged")
    if fields.get("transform_descriptors"):
        raise WeightsError(
            f"says that {shown(file)} was written through an extension ({shown(fields['transform_descriptors'])}), "
            "which is not read: save without it"
        )
    return Place(file, start, nbytes)


def _key(name: object, keys: object) -> Key:
    """The keys under which an entry was saved; without them, its name."""
    if not isinstance(name, str):
        raise WeightsError(f"names an entry {shown(name)}, expected text: it is damaged")
    key = keys.get(name) if isinstance(keys, dict) else None
    if key is None:
        return (name,)
    if type(key) is not tuple or not key or len(key) > _MAX_LEVELS or {type(part) for part in key} - {str, int}:
        raise WeightsError(f"says that {shown(name)} is at {shown(key)}, expected up to {_MAX_LEVELS} keys")
    return key


def _found(places: Mapping[Any, Place], name: str, offsets: tuple[int, ...] | None) -> Place:
    place = places.get((name, offsets))
    if place is None:
        raise WeightsError(f"does not say where {shown(name)} is: it is damaged")
    return place


def _tensor(name: str, fields: Mapping[str, Any], places: Mapping[Any, Place]) -> StoredTensor:
    shape = _sizes(name, fields["size"])
    dtype = _dtype(name, fields["properties"])
    boxes = [
        (_sizes(name, chunk["offsets"]), _sizes(name, chunk["sizes"]))
        for chunk in (_fields(chunk, "ChunkStorageMetadata") for chunk in fields["chunks"])
    ]
    boxes = [box for box in boxes if math.prod(box[1])]  # ranks without values have pieces without values
    if boxes if not math.prod(shape) else not _fill(boxes, (0,) * len(shape), shape):
        raise WeightsError(f"lists pieces of {shown(name)} that do not divide its shape {list(shape)}: it is damaged")
    pieces = tuple(Piece(offsets, sizes, _found(places, name, offsets)) for offsets, sizes in boxes)
    return StoredTensor(dtype, shape, pieces)


def _sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    if len(sizes) > MAX_DIMENSIONS or not all(type(size) is int and 0 <= size < 1 << 62 for size in sizes):
        raise WeightsError(f"gives {shown(name)} an impossible shape: it is damaged")
    return tuple(sizes)


def _dtype(name: str, properties: object) -> torch.dtype:
    if not isinstance(properties, Placeholder) or type(properties.state) is not tuple or len(properties.state) < 2:
        raise WeightsError(f"does not say of which dtype {shown(name)} is: it is damaged")
    dtype, layout = DTYPES.get(str(path_of(properties.state[0]))), properties.state[1]
    if dtype is None:
        raise WeightsError(f"says that {shown(name)} is of a dtype that is not known: save it with another dtype")
    if isinstance(layout, Placeholder) and layout.arguments != ("torch.strided",):
        raise WeightsError(f"says that {shown(name)} is a sparse tensor: save its to_dense()")
    return dtype


def _fill(boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], start: Sequence[int], end: Sequence[int]) -> bool:
    """Whether boxes fill a region without overlap, and straight cuts through the region separate them.

    Sharding along any number of dimensions, in equal or unequal parts, makes such boxes.
    """
    if len(boxes) == 1:
        ((offsets, sizes),) = boxes
        return list(offsets) == list(start) and [a + n for a, n in zip(offsets, sizes, strict=True)] == list(end)
    for axis in range(len(start)):
        groups = list(_groups(boxes, axis))
        if len(groups) > 1:
            ends = [first for first, _ in groups[1:]] + [end[axis]]
            return groups[0][0] == start[axis] and all(
                _fill(group, _with(start, axis, first), _with(end, axis, last))
                for (first, group), last in zip(groups, ends, strict=True)
            )
    return False


def _groups(
    boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], axis: int
) -> Iterator[tuple[int, list[tuple[tuple[int, ...], tuple[int, ...]]]]]:
    """Boxes between cuts across an axis, and where the first of them begins."""
    group: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    reached = 0
    for box in sorted(boxes, key=lambda box: box[0][axis]):
        if group and box[0][axis] >= reached:
            yield group[0][0][axis], group
            group = []
        group.append(box)
        reached = max(reached, box[0][axis] + box[1][axis])
    if group:
        yield group[0][0][axis], group


def _with(sizes: Sequence[int], axis: int, value: int) -> tuple[int, ...]:
    return (*sizes[:axis], value, *sizes[axis + 1 :])
