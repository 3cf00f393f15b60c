"""Finds the state dict in the content of a checkpoint."""

from __future__ import annotations

import logging
import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.messages.name_lists import first_names
from lightning_compress.weights.reading.inert_pickle import Placeholder, path_of
from lightning_compress.weights.reading.tensor_records import looks_like_tensor, tensor_record

_log = logging.getLogger(__name__)
_MAX_LISTED = 20  # entries in an error message
# Entries that hold the state of a training, or of a part that decoding does not need.
_TRAINING_WORD = re.compile(
    r"hyper|hparams|optim\w*|opts?|sched\w*|lr|amp|\w*scaler|rng|random|callbacks?|loops?|criterion|loss\w*|metrics?"
)
_REPR = reprlib.Repr()  # which visits few elements: tuples of a pickle can repeat each other without end
_REPR.maxstring = 80
_OPTIMIZER_KEYS = frozenset({"param_groups", "exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg"})


def mapping_in(value: object) -> Mapping[Any, Any] | None:
    """The value as a mapping: a dictionary, or what a placeholder of one was given; None for other values."""
    if isinstance(value, Mapping):
        return value
    return value.entries if isinstance(value, Placeholder) and value.entries else None


def find_state_dict(content: Mapping[Any, Any], key: str | None, path: str) -> Mapping[Any, Any]:
    """The state dict of a checkpoint: under ``key``, or the only one that the content is or holds.

    Args:
        content: what the file holds.
        key: where the state dict is; keys of nested mappings are joined by dots. None to find it.
        path: the path of the file, for messages.

    Raises:
        WeightsError: there is none, there are several, or none under ``key``.
    """
    found = dict(_state_dicts(content))
    if key is not None:
        return _under_key(content, key, found, path)
    if "state_dict" in content and _is_conventional(content, found):
        state = mapping_in(content["state_dict"])
        if state is None:
            kind = _kind_of(content["state_dict"])
            raise WeightsError(f"{path}: 'state_dict' is a {kind}, expected names and tensors")
        return state
    if len(found) > 1:
        raise WeightsError(
            f"{path} holds several state dicts; choose one with --key or Weights.from_checkpoint(path, key=…): "
            f"{_listed(found)}"
        )
    if found:
        ((name, state),) = found.items()
        _log.warning("%s: the weights are those of %r (%s)", path, name, _size(state))
        return state
    return _whole(content, path)


def _is_conventional(content: Mapping[Any, Any], found: Mapping[str, Any]) -> bool:
    """Whether ``state_dict`` is the state dict without doubt, as it always is in a checkpoint of Lightning."""
    is_split = any(name.startswith("state_dict.") for name in found)
    return not is_split and ("pytorch-lightning_version" in content or not set(found) - {"state_dict"})


def _state_dicts(content: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The mappings of tensors at the first and second level that are not the state of a training, by dotted key."""
    if _is_state_dict(content, complete=True):
        return
    descended: set[int] = set()
    for name, inner in _mappings(content):
        if _is_state_dict(inner):
            yield name, inner
        elif id(inner) not in descended:  # one mapping may stand under many names
            descended.add(id(inner))
            for inner_name, innermost in _mappings(inner):
                if id(innermost) not in descended and _is_state_dict(innermost):
                    yield f"{name}.{inner_name}", innermost
                descended.add(id(innermost))


def _mappings(value: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The mappings in a mapping that are not the state of a training, by name."""
    for name, item in value.items():
        inner = mapping_in(item)
        if inner is not None and not is_training_state(name, inner):
            yield name, inner


def is_training_state(name: object, value: Mapping[Any, Any]) -> bool:
    """Whether an entry of a checkpoint is the state of a training, such as that of an optimizer."""
    if not isinstance(name, str):
        return True
    words = re.split(r"[\W_]+", name.lower())
    return any(map(_TRAINING_WORD.fullmatch, words)) or not _OPTIMIZER_KEYS.isdisjoint(value)


def _is_state_dict(value: Mapping[Any, Any], complete: bool = False) -> bool:
    """Whether at least half of the values (all, if complete) are tensors with names, and not all of them scalars.

    The packed weights of quantized modules are no tensors, but the mapping is a state dict; it is refused later.
    """
    if any(isinstance(name, str) and "_packed_params" in name for name in value):
        return True
    values = [item for name, item in value.items() if not is_extra_state(name)]
    tensors = [item for item in values if looks_like_tensor(item)]
    enough = len(tensors) == len(values) if complete else 2 * len(tensors) >= len(values)
    return bool(tensors) and enough and all(isinstance(n, str) for n in value) and any(map(_has_dimensions, tensors))


def _has_dimensions(tensor: object) -> bool:
    if isinstance(tensor, Tensor):
        return tensor.dim() > 0
    try:
        return len(tensor_record(tensor).shape) > 0
    except WeightsError:  # of another kind, which is refused by name later
        return True


def _under_key(
    content: Mapping[Any, Any], key: str, found: Mapping[str, Mapping[Any, Any]], path: str
) -> Mapping[Any, Any]:
    state = found.get(key, _at(content, key))
    if state is None or not any(map(looks_like_tensor, state.values())):
        raise WeightsError(
            f"{path} holds no state dict under {key!r}; "
            + (f"choose one of {_listed(found)}" if found else f"it holds {_entries(content)}")
        )
    return state


def _at(content: Mapping[Any, Any], key: str) -> Mapping[Any, Any] | None:
    """The mapping at a dotted key; a key may contain dots itself."""
    for name, value in content.items():
        inner = mapping_in(value)
        if inner is not None and isinstance(name, str):
            if name == key:
                return inner
            if key.startswith(f"{name}.") and (deeper := _at(inner, key[len(name) + 1 :])) is not None:
                return deeper
    return None


def _whole(content: Mapping[Any, Any], path: str) -> Mapping[Any, Any]:
    """The content itself as a state dict.

    Raises:
        WeightsError: it is none.
    """
    for name, value in content.items():
        if is_module(value):
            raise WeightsError(whole_module(path, value, f" under {name!r}"))
    if any(map(looks_like_tensor, content.values())) or not content:
        return content
    raise WeightsError(f"{path} holds no state dict, but {_entries(content)}: save model.state_dict() in it")


def is_extra_state(name: object) -> bool:
    """Whether an entry of a state dict is what a module returned by ``get_extra_state``."""
    return isinstance(name, str) and name.endswith("_extra_state")


def is_module(value: object) -> bool:
    """Whether a placeholder stands for a whole module, which ``torch.save(module)`` writes."""
    return isinstance(value, Placeholder) and isinstance(value.state, dict) and "_modules" in value.state


def whole_module(path: str, value: object, where: str = "") -> str:
    """The message about a file that holds a whole module."""
    return (
        f"{path} holds a whole module{where} ({path_of(value)}), and is not read, because that would run its code: "
        "load it where its code is, and save model.state_dict()"
    )


def shown(name: object) -> str:
    """A name from a file for one line of a message."""
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 80 else _REPR.repr(name)[:80]


def _listed(found: Mapping[str, Mapping[Any, Any]]) -> str:
    names = [f"{shown(name)} ({_size(state)})" for name, state in list(found.items())[:_MAX_LISTED]]
    return first_names(names, _MAX_LISTED, "; ", total=len(found))


def _size(state: Mapping[Any, Any]) -> str:
    tensors = [value for value in state.values() if looks_like_tensor(value)]
    return f"{len(tensors)} tensor{'s' * (len(tensors) != 1)}, {sum(map(_nbytes, tensors)):,} bytes"


def _nbytes(tensor: object) -> int:
    if isinstance(tensor, Tensor):
        return tensor.nbytes
    try:
        return tensor_record(tensor).nbytes
    except WeightsError:  # sparse tensors and subclasses
        return 0


def _entries(content: Mapping[Any, Any]) -> str:
    names = [f"{shown(name)} ({_kind_of(value)})" for name, value in list(content.items())[:_MAX_LISTED]]
    return first_names(names, _MAX_LISTED, total=len(content)) or "nothing"


def _kind_of(value: object) -> str:
    return path_of(value) or type(value).__name__
