"""Groups of weights that are compressed one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from lightning_compress.compression.fitting import is_lossy
from lightning_compress.errors import SearchError, did_you_mean
from lightning_compress.weights import Weight, Weights, matches

GroupBy = Literal["class", "tensor"] | Callable[[Weight], str | None] | Mapping[str, str | Sequence[str]]


def check_groups(groups: object) -> None:
    """Check the argument ``groups`` of :func:`grouped`.

    Raises:
        SearchError: its type is not one that :func:`grouped` accepts.
    """
    is_mapping = isinstance(groups, Mapping) and bool(groups) and all(map(_are_patterns, groups.values()))
    if groups not in ("class", "tensor") and not callable(groups) and not is_mapping:
        raise SearchError(
            f"groups is {groups!r}, expected 'class', 'tensor', a mapping of names to patterns such as "
            "{'attention': '*attention*'}, or a function: Weight → name"
        )


def grouped(weights: Weights, groups: GroupBy) -> dict[str, tuple[Weight, ...]]:
    """The floating-point weights of each group; buffers and other constants belong to none.

    Args:
        weights: the stored tensors.
        groups: ``"class"``; ``"tensor"``; name of a group → pattern or patterns of tensor names, tied names included;
            or a function from a weight to the name of its group, or None.

    Returns:
        Name of the group → its tensors, in the order of the weights. With patterns, a tensor may be in several groups.

    Raises:
        SearchError: a pattern matches nothing, the function returns no name, or no group has a tensor.
    """
    lossy = [w for w in weights if is_lossy(w) and w.tensor.numel() and w.reason is None]
    if isinstance(groups, Mapping):
        found = {name: _matching(name, patterns, lossy, weights) for name, patterns in groups.items()}
    else:
        found = {}
        for weight in lossy:
            name = _group_name(groups, weight)
            if name is not None:
                found[name] = (*found.get(name, ()), weight)
    if not found:
        raise SearchError(
            f"none of the {len(weights)} tensors is a floating-point weight of a group: correct groups=…, or give a "
            "module with weights"
        )
    return found


def _group_name(groups: str | Callable[[Weight], str | None], weight: Weight) -> str | None:
    if not callable(groups):
        return weight.class_name if groups == "class" else weight.name
    name = groups(weight)
    if name is not None and not isinstance(name, str):
        raise SearchError(f"groups gave {name!r} for {weight.name!r}, expected the name of a group, or None for none")
    return name


def _matching(
    group: str, patterns: str | Sequence[str], lossy: Sequence[Weight], weights: Weights
) -> tuple[Weight, ...]:
    aliases: dict[str, list[str]] = {}
    for alias, tie in weights.ties.items():
        aliases.setdefault(tie.of, []).append(alias)
    names = {weight.name: [weight.name, *aliases.get(weight.name, ())] for weight in lossy}
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = {name for name, known in names.items() if any(matches(pattern, each) for each in known)}
        if not found:
            raise SearchError(
                f"group {group!r}: pattern {pattern!r} matches none of the {len(names)} floating-point tensors"
                f"{did_you_mean(pattern, names)}. They look like {', '.join(list(names)[:3])}; write '*' for any run "
                "of characters."
            )
        chosen |= found
    return tuple(weight for weight in lossy if weight.name in chosen)


def _are_patterns(value: object) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, Sequence) and bool(value) and all(isinstance(pattern, str) for pattern in value)
