"""The methods a rule may name, and how plain data becomes one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from lightning_compress.errors import PlanError
from lightning_compress.prune import Prune
from lightning_compress.quantize import Grid, Half, Interval, LowRank, Raw

QuantizerMethod = Interval | Grid
Method = Prune | LowRank | QuantizerMethod | Half | Raw
QUANTIZERS: tuple[type[QuantizerMethod], ...] = (Interval, Grid)
_ROLES: tuple[tuple[type[Method], ...], ...] = ((Prune,), (LowRank,), QUANTIZERS, (Half, Raw))
METHODS: dict[str, type[Method]] = {method.id: method for role in _ROLES for method in role}


def role_of(pattern: str, method: Method) -> int:
    """Place of a method in the nesting order: 0 prunes, 1 factors, 2 quantizes, 3 stores.

    Raises:
        PlanError: it is no method.
    """
    for role, kinds in enumerate(_ROLES):
        if isinstance(method, kinds):
            return role
    hint = f"write {method.__name__}(…)" if isinstance(method, type) else f"expected one of {', '.join(METHODS)}"
    raise PlanError(f"rule {pattern!r}: {method!r} is no method; {hint}")


def method_from_config(config: Any) -> Method:
    """The method of plain data: its name alone, or a mapping of its name to its parameters.

    Raises:
        PlanError: an unknown method or parameter, or a value out of range.
    """
    if isinstance(config, str):
        config = {config: {}}
    if not isinstance(config, Mapping) or len(config) != 1:
        raise PlanError(
            f"a method is {config!r}, expected its name, or its name with parameters: half, or prune: {{amount: 0.15}}"
        )
    ((name, parameters),) = config.items()
    if name not in METHODS:
        raise PlanError(f"method {name!r} is unknown{did_you_mean(name, METHODS)}; there are {', '.join(METHODS)}")
    method = METHODS[name]
    parameters = {} if parameters is None else parameters
    check_keys(f"method {name!r}", parameters, {field.name for field in fields(method)})
    for field in fields(method):
        if field.default is MISSING and field.name not in parameters:
            raise PlanError(f"method {name!r} has no {field.name}; write {name}: {{{field.name}: …}}")
    return method(**parameters)


def check_keys(what: str, config: Any, known: set[str]) -> None:
    """Raise a PlanError where plain data is no mapping, or has a key that is not known."""
    if not isinstance(config, Mapping):
        raise PlanError(f"{what} is {config!r}, expected a mapping with the keys {', '.join(sorted(known))}")
    for key in config:
        if key not in known:
            raise PlanError(
                f"{what} has the unknown key {key!r}{did_you_mean(key, known)}; it knows {', '.join(sorted(known))}"
            )


def did_you_mean(given: Any, known: Iterable[str]) -> str:
    """A hint at the closest known name, or nothing."""
    close = difflib.get_close_matches(str(given), list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
