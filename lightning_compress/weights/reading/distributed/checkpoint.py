"""The state dict and the other entries of a checkpoint that is a folder of several ranks.

Lightning writes such folders for sharded models: the weights by ``torch.distributed.checkpoint``, and all that is not
distributed to ``meta.pt`` (``lightning/pytorch/strategies/fsdp.py``, ``model_parallel.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.files import Source, entry_of, file_size
from lightning_compress.weights.metadata.checkpoint_record import VERSION_KEY
from lightning_compress.weights.reading.distributed.folder import DistributedFolder
from lightning_compress.weights.reading.distributed.metadata import Place
from lightning_compress.weights.reading.file_kinds import damage
from lightning_compress.weights.reading.hyper_parameters import KEY, readable_entries
from lightning_compress.weights.reading.inert_pickle import Placeholder
from lightning_compress.weights.reading.state_dicts import (
    find_state_dict,
    is_extra_state,
    is_training_state,
    mapping_in,
)
from lightning_compress.weights.reading.torch_file import TorchFile
from lightning_compress.weights.storable.state_dict import check_not_converted

_REST = "meta.pt"


def read_distributed(path: str, key: str | None, *, deferred: bool) -> tuple[Mapping[str, Any], Mapping[Any, Any]]:
    """The state dict of a folder, and its other entries without the state of the training.

    Args:
        path: the folder, local or remote.
        key: where the state dict is, as for :func:`~lightning_compress.weights.reading.state_dicts.find_state_dict`.
        deferred: whether the values of tensors are read each time that they are needed.

    Raises:
        WeightsError: the folder is incomplete or damaged, or has no state dict or several.
    """
    folder = DistributedFolder(path)
    rest = _rest(entry_of(path, _REST))
    content = folder.content
    if VERSION_KEY in rest and "state_dict" not in content and isinstance(content.get("model"), dict):
        content = {"state_dict" if name == "model" else name: value for name, value in content.items()}  # FSDP
    content = {**rest, **content}
    state = find_state_dict(content, key, path)
    built = {name: _entry(folder, name, value, deferred) for name, value in state.items()}
    others = {
        name: value if name in rest else _value(folder, value)
        for name, value in content.items()
        if value is not state and (name in rest or name == KEY or not is_training_state(name, {}))
    }
    return built, {} if state is content else readable_entries(others, path, folder.nbytes)


def _rest(path: str) -> Mapping[Any, Any]:
    """What Lightning saved beside the tensors, read as records; nothing where another program wrote the folder."""
    if file_size(path) is None:
        return {}
    with damage(path):
        content = mapping_in(TorchFile(Source(path)).content)
        if content is None:
            raise WeightsError("holds no dictionary, expected the rest of a checkpoint")
    return content


def _entry(folder: DistributedFolder, name: str, value: object, deferred: bool) -> Any:
    """The tensor of an entry of the state dict; other values are returned, and refused later."""
    if isinstance(value, Tensor):
        check_not_converted(name)
        return value if deferred else value.detach()
    return None if is_extra_state(name) else _value(folder, value)


def _value(folder: DistributedFolder, value: object) -> Any:
    """A value with its parts read; tensors, which are not among the weights, stay out."""
    if isinstance(value, Place):
        return folder.value(value)
    if not isinstance(value, dict):
        return Placeholder()
    parts = {name: _value(folder, part) for name, part in value.items()}
    return list(parts.values()) if list(parts) == list(range(len(parts))) and parts else parts
