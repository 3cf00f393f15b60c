"""Which entries of a state dict are stored, and a message about those that are left out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lightning_compress.messages.log_once import log_once
from lightning_compress.messages.name_lists import first_names
from lightning_compress.weights.arguments import check_patterns_match
from lightning_compress.weights.metadata.module_metadata import checked_patterns, exclude_patterns_of, metric_state
from lightning_compress.weights.names import matches_any
from lightning_compress.weights.storable.state_dict import merge_pruning, merged_name, storable_tensors

_log = logging.getLogger(__name__)


def select_tensors(
    state: Mapping[str, Any], module: nn.Module | None, exclude: Sequence[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors to store by name, pruning masks merged into their weights; and the names of all that is left out.

    Left out are the state of metrics, what ``exclude`` and the module's ``compression_exclude()`` name, and extra state
    that is no tensor. The log says once what is left out.

    Args:
        state: tensor names and tensors.
        module: the module they belong to; without it, only ``exclude`` leaves something out.
        exclude: patterns of tensors to leave out.

    Raises:
        WeightsError: an entry is not a tensor with values, or a pattern of ``exclude`` matches nothing.
    """
    extra = tuple(n for n, v in state.items() if str(n).endswith("_extra_state") and not isinstance(v, Tensor))
    names = {n: merged_name(n, state) for n in state if isinstance(n, str) and n not in extra}
    given = checked_patterns("exclude", exclude)
    check_patterns_match("exclude", given, list(dict.fromkeys(names.values())))
    patterns = [*given, *exclude_patterns_of(module)]
    metrics = metric_state(names, module)
    unwanted = {name for name, merged in names.items() if matches_any(patterns, merged)}
    _tell(logging.WARNING, "the state of metrics is left out", metrics - unwanted, state)
    _tell(logging.INFO, "exclude and compression_exclude() leave out", unwanted, state)
    left_out = metrics | unwanted
    kept = {name: value for name, value in state.items() if name not in left_out and name not in extra}
    excluded = dict.fromkeys(merged for name, merged in names.items() if name in left_out)
    return merge_pruning(storable_tensors(kept)), (*excluded, *extra)


def _tell(level: int, what: str, left_out: Collection[str], state: Mapping[str, Any]) -> None:
    names = [name for name in state if name in left_out]
    if names:
        size = sum(_bytes(state[name]) for name in names)
        log_once(_log, level, f"{what}: {first_names(names)} (tensors: {len(names)}, bytes: {size:,})")


def _bytes(value: object) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
