"""A checkpoint in a file of this package's format, whole or as differences to an earlier one."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_compress.archive import (
    Archive,
    Asset,
    Entry,
    Manifest,
    SpooledStreams,
    encode_asset,
    encode_tensor,
)
from lightning_compress.errors import FormatError
from lightning_compress.quantize import RawPayload
from lightning_compress.resumable.differences import advanced, difference, has_difference
from lightning_compress.resumable.opened_file import KEY, KINDS, ResumableFile, located
from lightning_compress.resumable.structure import Parts
from lightning_compress.runtime import in_order, one_thread

_STRUCTURE, _OBJECT = "resumable/structure.json", "resumable/object-{}"
_SAMPLE = 1 << 15
_LONGEST_CHAIN = 1000


def write_file(
    checkpoint: Mapping[Any, Any], path: str | PathLike[str], parent: ResumableFile | None = None
) -> ResumableFile:
    """Write a checkpoint, and read it back.

    Args:
        checkpoint: any dictionary that ``torch.save`` takes.
        path: of the file; one of this package there is replaced.
        parent: a file in the same folder, which differences refer to; None for a whole file.

    Raises:
        VerificationError: the written file does not decode to what was written.
        OSError: the file cannot be written; no partial file is left.
    """
    parts = Parts.of(checkpoint)
    before = {} if parent is None else _tensors(parent, set(parts.tensors))
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def code(item: tuple[str, Tensor]) -> tuple[str, str, tuple[Entry, bytes] | None]:
        return (item[0], *_coded(*item, before.get(item[0])))

    entries: list[Entry] = []
    streams = SpooledStreams()
    with one_thread():
        for name, kind, coded in in_order(code, parts.tensors.items()):
            if kind in kinds:
                kinds[kind].append(name)
            if coded is not None:
                entries.append(coded[0])
                streams.add(coded[0].key, coded[1])
    assets: list[Asset] = []
    for name, content in _assets(parts):
        asset, data = encode_asset(name, content)
        assets.append(asset)
        streams.add(asset.key, data)
    record: dict[str, Any] = {"identity": secrets.token_hex(16), "bytes": _nbytes(parts.tensors)}
    if parent is not None:
        record |= {"parent": {"name": parent.path.name, "identity": parent.identity}, **kinds}
    manifest = Manifest(entries=tuple(entries), metrics={KEY: record}, assets=tuple(assets))
    Archive(manifest, streams).save(path)
    return ResumableFile.open(Path(path))


def read_file(path: str | PathLike[str], *, weights_only: bool | None = None) -> dict[Any, Any]:
    """The checkpoint that a file holds, its tensors in main memory.

    Args:
        path: of the file.
        weights_only: as for ``torch.load``, for the objects in it that are neither tensors nor plain values; None for
            torch's default, which reads no class that is not known to be harmless.

    Raises:
        FormatError: the file is damaged, holds no checkpoint, or a file that it refers to is missing or another one.
        pickle.UnpicklingError: an object is of a class that ``weights_only`` forbids.
    """
    file = ResumableFile.open(Path(path))
    assets = file.archive.assets()
    if _STRUCTURE not in assets:
        raise FormatError(f"{path} lacks the structure of the checkpoint: it is damaged")
    try:
        structure = json.loads(assets[_STRUCTURE])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} has a damaged structure: {error}") from error
    objects = [assets[name] for name in takewhile(assets.__contains__, map(_OBJECT.format, count()))]
    parts = Parts(structure, _tensors(file, None), objects)
    return parts.joined(lambda content: torch.load(io.BytesIO(content), weights_only=weights_only))


def _tensors(file: ResumableFile, names: set[str] | None) -> dict[str, Tensor]:
    """The tensors of a file, those of its parents included; of these names, or all."""
    chain, wanted = [file], [names]
    while chain[-1].parent is not None:
        needed = {name for kind in KINDS for name in chain[-1].record[kind]}
        wanted.append(needed if wanted[-1] is None else needed & wanted[-1])
        chain.append(located(chain[-1]))
        if len(chain) > _LONGEST_CHAIN:
            raise FormatError(f"{file.path} refers to more than {_LONGEST_CHAIN} files, one by one: it is damaged")
    tensors: dict[str, Tensor] = {}
    for each, needed_names in zip(reversed(chain), reversed(wanted), strict=True):
        stored = each.archive.restore(names=needed_names)
        if each.parent is not None:
            kept = {name: tensors[name] for name in each.record["same"] if name in tensors}
            changes = {name: stored[name] for name in each.record["changed"] if name in stored}
            stored |= kept | {name: _advanced(name, tensors, change) for name, change in changes.items()}
        tensors = stored
    return tensors


def _advanced(name: str, before: Mapping[str, Tensor], change: Tensor) -> Tensor:
    """The tensor that a difference leads to.

    Raises:
        FormatError: the difference is to no tensor, or to one of another shape or type.
    """
    tensor = before.get(name)
    if tensor is None or change.shape != tensor.shape or change.element_size() != tensor.element_size():
        raise FormatError(f"the difference of tensor {name!r} does not fit the file that it refers to")
    return advanced(tensor, change)


def _coded(name: str, tensor: Tensor, before: Tensor | None) -> tuple[str, tuple[Entry, bytes] | None]:
    """How a tensor is stored: ``same`` as before, ``changed``, or ``whole``; and its code."""
    tensor = tensor.cpu().contiguous()
    if before is not None and has_difference(tensor, before):
        change = difference(tensor, before)
        if not bool(change.any()):
            return "same", None
        if _sampled_bytes(change) < _sampled_bytes(tensor):
            return "changed", encode_tensor(name, KEY, RawPayload(change), change)
    return "whole", encode_tensor(name, KEY, RawPayload(tensor), tensor)


def _sampled_bytes(tensor: Tensor) -> int:
    """Bytes of the code of some of its elements."""
    flat = tensor.reshape(-1)
    sample = flat[:: max(1, len(flat) // _SAMPLE)].contiguous()
    return len(encode_tensor("", KEY, RawPayload(sample), sample)[1])


def _assets(parts: Parts) -> Iterator[tuple[str, bytes]]:
    yield _STRUCTURE, json.dumps(parts.structure, separators=(",", ":")).encode()
    for number, content in enumerate(parts.objects):
        yield _OBJECT.format(number), content


def _nbytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
