"""The registry of the methods that a rule may name, and how plain data becomes a method.

A method of this package is one file, and one entry in ``_BUILT_IN``. A method of another package is registered by an
entry point, whose name is the id of the method::

    [project.entry-points."lightning_compress.methods"]
    mid-rise = "my_package.mid_rise:MidRise"

or by :func:`register`. Entry points are looked up when an id is asked for that is not registered, and only the one of
that name is imported: when a plan is built that names it. Reading a file builds no plan, so it imports no such code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from importlib import metadata
from typing import Any, TypeVar

from lightning_compress.errors import PlanError, did_you_mean
from lightning_compress.plan.contract import Method, check_contract
from lightning_compress.prune import Prune
from lightning_compress.quantize import (
    Binary,
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    Logarithmic,
    LowRank,
    Raw,
    Ternary,
)

ENTRY_POINTS = "lightning_compress.methods"
_BUILT_IN: tuple[type[Method], ...] = (
    Prune,
    LowRank,
    Interval,
    Grid,
    KMeans,
    Logarithmic,
    Binary,
    Ternary,
    GroupWise,
    Half,
    Raw,
)

M = TypeVar("M", bound=type[Method])


class Methods(Mapping[str, type[Method]]):
    """Classes of methods by id: those registered, then those that entry points offer.

    Iterating and ``len`` read the names of entry points and import nothing; a look-up imports the entry point of that
    name where the id is not registered.
    """

    def __init__(self, methods: Iterable[type[Method]] = ()) -> None:
        self._registered: dict[str, type[Method]] = {}
        for method in methods:
            self.register(method)

    def register(self, method: M) -> M:
        """Add a class under its id, see :func:`register`."""
        check_contract(method)
        name = method.id
        other = self._registered.setdefault(name, method)
        if other is not method:
            raise PlanError(
                f"method {name!r} is registered twice, by {_place(other)} and {_place(method)}; give one another id"
            )
        return method

    def with_role(self, role: str) -> tuple[str, ...]:
        """Ids of the registered methods of a role."""
        return tuple(name for name, method in self._registered.items() if method.role == role)

    def __getitem__(self, name: str) -> type[Method]:
        if name not in self._registered:
            self.register(_imported(name))
        return self._registered[name]

    def __iter__(self) -> Iterator[str]:
        offered = (entry.name for entry in metadata.entry_points(group=ENTRY_POINTS))
        return iter(dict.fromkeys([*self._registered, *sorted(offered)]))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _imported(name: str) -> type[Method]:
    """The class behind the entry point of this name.

    Raises:
        KeyError: there is none.
        PlanError: there are several, its import fails, or it is the class of another id.
    """
    found = list(metadata.entry_points(group=ENTRY_POINTS, name=name)) if isinstance(name, str) else []
    if not found:
        raise KeyError(name)
    if len({entry.value for entry in found}) > 1:
        places = ", ".join(entry.value for entry in found)
        raise PlanError(f"method {name!r} is registered twice, by the entry points {places}; uninstall one of them")
    try:
        method: type[Method] = found[0].load()
    except (Exception, SystemExit) as error:
        raise PlanError(
            f"method {name!r} cannot be imported from {found[0].value}: {type(error).__name__}: {error}"
        ) from error
    if getattr(method, "id", None) != name:
        raise PlanError(
            f"the entry point {name!r} is {found[0].value}, whose id is {getattr(method, 'id', None)!r}; "
            "an entry point has the id of its method as its name"
        )
    return method


METHODS = Methods(_BUILT_IN)


def register(method: M) -> M:
    """Add the class of a method, so that plans may name it; also a decorator. The same class may be added again.

    Raises:
        PlanError: it is no frozen dataclass, lacks a part of :class:`~lightning_compress.plan.contract.Method`, or has
            the id of another class.
    """
    return METHODS.register(method)


def check_method(pattern: str, method: object) -> None:
    """Raise a PlanError where something in the rule of this pattern is no instance of a registered class."""
    kind = type(method)
    name = getattr(kind, "id", None)
    if isinstance(name, str) and METHODS.get(name) is kind:
        return
    if isinstance(method, type):
        hint = f"write {method.__name__}(…)"
    elif isinstance(name, str):
        hint = f"register its class first: lightning_compress.plan.register({kind.__name__})"
    else:
        hint = f"expected one of {', '.join(METHODS)}"
    raise PlanError(f"rule {pattern!r}: {method!r} is no method; {hint}")


def method_from_config(config: object) -> Method:
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
        if field.default is MISSING and field.default_factory is MISSING and field.name not in parameters:
            raise PlanError(f"method {name!r} has no {field.name}; write {name}: {{{field.name}: …}}")
    return method(**parameters)


def check_keys(what: str, config: object, known: set[str]) -> Mapping[str, Any]:
    """The mapping that plain data is.

    Raises:
        PlanError: it is none, or has a key that is not known.
    """
    if not isinstance(config, Mapping):
        raise PlanError(f"{what} is {config!r}, expected a mapping with the keys {', '.join(sorted(known))}")
    for key in config:
        if key not in known:
            raise PlanError(
                f"{what} has the unknown key {key!r}{did_you_mean(key, known)}; it knows {', '.join(sorted(known))}"
            )
    return config


def _place(method: type) -> str:
    return f"{method.__module__}.{method.__qualname__}"
