"""Tensor names: the wrappers that training adds to them, and the patterns that select them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
_OBSERVER = re.compile(r"(^|_)(fake_quant|fake_quantize|activation_post_process|observer)\d*$")
_WHOLE_MODEL_PREFIXES = ("module.", "base_model.model.")  # of DDP, DeepSpeed and AveragedModel; of PEFT
_ADAPTER = re.compile(r"(\.(?:lora|vera|ia3)_\w+)\.default(?=\.|$)")
_WEIGHT_NORM = re.compile(r"(^|\.)parametrizations\.(\w+)\.original([01])$")
_OF_AVERAGING = "n_averaged"


@lru_cache(maxsize=65536)
def common_name(name: str) -> str:
    """The name without wrappers, in the form that several versions of a library share.

    The forward and the older form of weight normalization share ``weight_g`` and ``weight_v``, and an adapter of PEFT
    has one name in a model and in its own file. A leading ``module.`` stays: see :func:`prefix_lengths`.

    >>> common_name("_orig_mod.net.parametrizations.weight.original0")
    'net.weight_g'
    """
    inner = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    inner = _WEIGHT_NORM.sub(lambda found: f"{found[1]}{found[2]}_{'gv'[int(found[3])]}", inner)
    return _ADAPTER.sub(r"\1", inner)


def prefix_lengths(names: Iterable[str]) -> list[int]:
    """The lengths of the prefixes that wrappers may have added to all names of a model, 0 first.

    A submodule may be called ``module`` itself, so what the prefix is depends on the names that are matched.

    >>> prefix_lengths(["module.module.a", "module.module.b"])
    [0, 7, 14]
    """
    names = [name for name in names if name != _OF_AVERAGING]
    lengths = [0]
    while names and (found := _shared_prefix([name[lengths[-1] :] for name in names])):
        lengths.append(lengths[-1] + len(found))
    return lengths


def _shared_prefix(names: list[str]) -> str:
    return next((p for p in _WHOLE_MODEL_PREFIXES if all(name.startswith(p) for name in names)), "")


def counts_averages(names: Iterable[str], name: str) -> bool:
    """Whether a name is the counter that ``AveragedModel`` adds to the names of a model, which all begin alike."""
    return name == _OF_AVERAGING and len(prefix_lengths(names)) > 1


def is_observer_state(name: str) -> bool:
    """Whether a tensor is the state of an observer or of fake quantization (``torch.ao``), by its name."""
    return any(_OBSERVER.search(part) for part in name.split(".")[:-1])


@lru_cache(maxsize=65536)
def strip_wrappers(name: str) -> str:
    """Remove the prefixes that ``torch.compile``, FSDP, activation checkpointing and DDP add to a tensor's name.

    >>> strip_wrappers("model._orig_mod.encoder.weight")
    'model.encoder.weight'
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    """An expression that takes each part between two stars at its first place, and never tries another for it.

    That is right for ``*``, and keeps the time linear in the name for each part. ``(?=(…))\\1`` is an atomic group,
    which Python 3.10 cannot write otherwise.
    """
    first, *rest = ("".join("." if c == "?" else re.escape(c) for c in part) for part in pattern.split("*"))
    if not rest:
        return re.compile(first, re.DOTALL)
    between = [part for part in rest[:-1] if part]
    atomic = "".join(f"(?=(.*?{part}))\\{number}" for number, part in enumerate(between, 1))
    return re.compile(f"{first}{atomic}.*{rest[-1]}", re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches a name, with or without its wrapper prefixes.

    ``*`` matches any run of characters, dots included; ``?`` matches one character; matching is case-sensitive.
    """
    expression = _compiled(pattern)
    return bool(expression.fullmatch(name) or expression.fullmatch(strip_wrappers(name)))


def matches_as_written(pattern: str, text: str) -> bool:
    """Whether a pattern matches a text as it is: for import paths, where prefixes are names of packages."""
    return _compiled(pattern).fullmatch(text) is not None


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether at least one of the patterns matches the name."""
    return any(matches(pattern, name) for pattern in patterns)
