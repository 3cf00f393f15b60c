"""Reads the weights and hyper-parameters of checkpoints without running any code that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.files import Source, entry_of, file_size, is_remote, local_path, read_prefix
from lightning_compress.weights.reading.distributed import METADATA, read_distributed
from lightning_compress.weights.reading.file_kinds import PREFIX_BYTES, damaged, foreign_file, foreign_folder
from lightning_compress.weights.reading.hyper_parameters import readable_entries
from lightning_compress.weights.reading.inert_pickle import path_of
from lightning_compress.weights.reading.safetensors_file import is_safetensors, read_safetensors
from lightning_compress.weights.reading.shards import INDEX_SUFFIX, file_in_folder, read_shards
from lightning_compress.weights.reading.state_dicts import (
    find_state_dict,
    is_extra_state,
    is_module,
    mapping_in,
    whole_module,
)
from lightning_compress.weights.reading.tensor_records import (
    check_expansion,
    looks_like_tensor,
)
from lightning_compress.weights.reading.torch_file import TorchFile
from lightning_compress.weights.storable.state_dict import check_not_converted


@dataclass(frozen=True)
class Checkpoint:
    """What is taken from a checkpoint.

    Attributes:
        state: name → tensor, or another plain value.
        entries: the other entries, with a placeholder for what cannot be read; ``hyper_parameters`` is a mapping.
    """

    state: Mapping[str, Any]
    entries: Mapping[Any, Any] = field(default_factory=dict)


def read_checkpoint(path: str, key: str | None = None, *, deferred: bool = False) -> Checkpoint:
    """The state dict and the hyper-parameters of a checkpoint; only the tensors of the state dict are read.

    Takes files of ``torch.save`` (a checkpoint of Lightning or of another training, or a state dict), safetensors
    files, the index of a sharded model or the folder that holds it, and folders of ``torch.distributed.checkpoint``,
    those of Lightning included. What is not taken as it is, is logged.

    Args:
        path: a local path, or a URL that fsspec opens.
        key: where the state dict is, as for :func:`~lightning_compress.weights.reading.state_dicts.find_state_dict`.
        deferred: whether the values of tensors are read each time that they are needed.

    Raises:
        WeightsError: the file is missing, damaged or not a checkpoint, or a tensor in its state dict cannot be read.
    """
    try:
        return _read(path, key, deferred)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise any exception
        raise WeightsError(f"{path} {damaged(error)}") from error


def _read(path: str, key: str | None, deferred: bool) -> Checkpoint:
    if _may_be_folder(path) and file_size(entry_of(path, METADATA)) is not None:
        return Checkpoint(*read_distributed(path, key, deferred=deferred))
    if not is_remote(path) and local_path(path).is_dir():
        return _read(_file_in(path), key, deferred)
    prefix = read_prefix(path, PREFIX_BYTES)
    if is_safetensors(prefix):
        return Checkpoint(_without_key(read_safetensors(path, deferred=deferred), key, path))
    reason = foreign_file(prefix, path)
    if reason is not None:
        raise WeightsError(f"{path} {reason}")
    if path.endswith(INDEX_SUFFIX):
        return Checkpoint(_without_key(read_shards(path, lambda shard: _read(shard, None, deferred).state), key, path))
    return _read_saved(path, key, deferred)


def _may_be_folder(path: str) -> bool:
    """Whether a path can have entries; what follows the path of a web page may be a query."""
    return not path.startswith(("http://", "https://"))


def _file_in(folder: str) -> str:
    found = file_in_folder(local_path(folder))
    if found is None:
        raise WeightsError(f"{folder} {foreign_folder(local_path(folder))}")
    return found


def _without_key(state: Mapping[str, Any], key: str | None, path: str) -> Mapping[str, Any]:
    if key is not None:
        raise WeightsError(f"{path} is one state dict and has no keys; leave out the key {key!r}")
    return state


def _read_saved(path: str, key: str | None, deferred: bool) -> Checkpoint:
    source = Source(path)
    try:
        file = TorchFile(source)
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
    mapping = mapping_in(file.content)
    if mapping is None:
        content = file.content
        raise WeightsError(whole_module(path, content) if is_module(content) else _not_a_mapping(path, content))
    state = find_state_dict(mapping, key, path)
    build = file.deferred if deferred else file.tensor
    built = {name: _built(name, value, build, path) for name, value in state.items()}
    _check_expansion(built, path, source.nbytes)
    others = {} if state is mapping else {name: value for name, value in mapping.items() if value is not state}
    return Checkpoint(built, readable_entries(others, path, source.nbytes))


def _not_a_mapping(path: str, content: object) -> str:
    kind = "tensor" if looks_like_tensor(content) else path_of(content) or type(content).__name__
    return f"{path} holds one {kind}, expected a checkpoint or a state dict: save model.state_dict()"


def _built(name: str, value: object, build: Callable[[Any], Tensor], path: str) -> Any:
    """The tensor of an entry of the state dict; plain values are returned, and refused later."""
    if is_extra_state(name) and not looks_like_tensor(value):
        return None
    if path_of(value) is None:
        return value
    check_not_converted(name)
    try:
        return build(value)
    except WeightsError as error:
        raise WeightsError(f"{path}: {name!r} is {error}") from error


def _check_expansion(state: Mapping[str, Any], path: str, file_bytes: int) -> None:
    try:
        check_expansion({name: value for name, value in state.items() if isinstance(value, Tensor)}, file_bytes)
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
