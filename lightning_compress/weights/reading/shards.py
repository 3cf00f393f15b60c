"""Reads the index and the shards that Hugging Face libraries write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_compress.errors import WeightsError
from lightning_compress.files import exists, is_remote, local_path, read_bytes
from lightning_compress.messages.name_lists import first_names

INDEX_SUFFIX = ".index.json"
_SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")


def file_in_folder(folder: Path) -> str | None:
    """The index of the shards in a folder, or its only model file; None if it has neither.

    Raises:
        WeightsError: the folder has several.
    """
    for pattern in (f"*.safetensors{INDEX_SUFFIX}", f"*.bin{INDEX_SUFFIX}"):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise WeightsError(f"{folder} holds several models; give one of {', '.join(path.name for path in found)}")
        if found:
            return str(found[0])
    return next((str(folder / name) for name in _SINGLE_FILES if (folder / name).is_file()), None)


def read_shards(index: str, read_file: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """The tensors of all shards of an index.

    Args:
        index: path of the JSON file, which has the shard of each tensor under ``weight_map``.
        read_file: path of a shard → its tensors.

    Raises:
        WeightsError: the index is damaged, or a shard or a tensor is missing.
    """
    shard_of = _weight_map(index)
    paths = {name: _beside(index, name) for name in dict.fromkeys(shard_of.values())}
    missing = [name for name, path in paths.items() if not exists(path)]
    if missing:
        raise WeightsError(f"{index}: {len(missing)} of {len(paths)} shards are missing: {first_names(missing, 20)}")
    tensors = {name: read_file(path) for name, path in paths.items()}
    lost = [name for name, shard in shard_of.items() if name not in tensors[shard]]
    if lost:
        raise WeightsError(f"{index}: the shards lack {len(lost)} of {len(shard_of)} tensors: {first_names(lost, 20)}")
    return {name: tensors[shard][name] for name, shard in shard_of.items()}


def _beside(index: str, name: str) -> str:
    """The path of a file in the folder of the index."""
    return f"{index.rpartition('/')[0]}/{name}" if is_remote(index) else str(local_path(index).with_name(name))


def _weight_map(index: str) -> dict[str, str]:
    try:
        content = json.loads(bytes(read_bytes(index)))
        shard_of: dict[str, str] = content["weight_map"]
        valid = isinstance(shard_of, dict) and all(isinstance(name, str) for name in shard_of.values())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{index} is not an index of shards: it has no 'weight_map'") from error
    if not valid or not shard_of:
        raise WeightsError(f"{index} is not an index of shards: its 'weight_map' is not tensor names → file names")
    outside = [
        name
        for name in shard_of.values()
        if not name.strip(".") or set(name) & set("/\\") or name.endswith(INDEX_SUFFIX)
    ]
    if outside:
        raise WeightsError(f"{index} names {outside[0]!r}, expected a file of tensors beside it")
    return shard_of
