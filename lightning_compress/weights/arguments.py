"""Checks of the arguments that select and classify tensors, with the error that says what is expected instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from torch import nn

from lightning_compress.errors import WeightsError, did_you_mean
from lightning_compress.weights.names import matches

_SHOWN = 3  # names in a message


def check_source(state: object, module: object, classes: object) -> None:
    """Check the types of a state dict, of its module, and of the patterns of classes.

    Raises:
        WeightsError: one of them has another type.
    """
    if not isinstance(state, Mapping):
        raise WeightsError(f"the state dict is a {type(state).__name__}, expected names and tensors")
    if module is not None:
        check_module(module)
    if classes is None:
        return
    if not isinstance(classes, Mapping):
        raise WeightsError(f"classes is {classes!r:.80}, expected a mapping such as {{'attention': '*attn*'}}")
    for name, patterns in classes.items():
        if not (isinstance(name, str) and (isinstance(patterns, str) or _are_patterns(patterns))):
            raise WeightsError(
                f"classes has {name!r:.80}: {patterns!r:.80}, expected the name of a class and a pattern or a list of "
                "patterns"
            )


def check_module(module: object) -> None:
    """Raise a WeightsError for what is no module."""
    if not isinstance(module, nn.Module):
        raise WeightsError(f"the module is {module!r:.80}, expected a torch.nn.Module")


def nothing_matches(what: str, pattern: str, names: Iterable[str]) -> WeightsError:
    """The error for a pattern that selects no tensor: names what is close, or what there is.

    Args:
        what: the argument that has the pattern, such as ``exclude``.
        pattern: the pattern.
        names: the names of the tensors.
    """
    known = list(names)
    shown = ", ".join(map(repr, known[:_SHOWN])) or "none"
    return WeightsError(
        f"{what} pattern {pattern!r} matches none of the {len(known)} tensors: remove or correct "
        f"it{did_you_mean(pattern, known)}. Names look like {shown}; write '*' for any run of characters."
    )


def check_patterns_match(what: str, patterns: Iterable[str], names: Collection[str]) -> None:
    """Raise a WeightsError for the first pattern that matches no name; arguments as for :func:`nothing_matches`."""
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise nothing_matches(what, pattern, names)


def _are_patterns(value: object) -> bool:
    if not isinstance(value, Collection) or isinstance(value, (bytes, Mapping)):
        return False
    return all(isinstance(pattern, str) for pattern in value)
