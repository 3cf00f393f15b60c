"""The arguments of a constructor, from the hyper-parameters in a file and the caller's keywords.

As Lightning does it: hyper-parameters that the constructor does not accept are dropped, and if a module has saved them
under the name of one argument (``save_hyperparameters(cfg)``), that argument gets all of them as one dictionary.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_compress.errors import MismatchError
from lightning_compress.loading.stored_module import StoredModule

RESERVED = ("strict", "allow", "max_bytes")  # keywords of load_from_checkpoint itself
_Parameter = inspect.Parameter


@dataclass(frozen=True)
class Signature:
    """The parameters of a constructor or function by name, and whether it takes further keywords."""

    parameters: Mapping[str, inspect.Parameter]
    takes_keywords: bool
    name: str
    own_name: str | None = None

    @classmethod
    def of(cls, factory: Callable[..., Any]) -> Signature:
        """The signature of a class without ``self``, or of a function."""
        parameters = inspect.signature(factory).parameters.values()
        variadic = (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD)
        return cls(
            parameters={p.name: p for p in parameters if p.kind not in variadic},
            takes_keywords=any(p.kind is p.VAR_KEYWORD for p in parameters),
            name=getattr(factory, "__qualname__", type(factory).__qualname__),
            own_name=_own_name(factory) if isinstance(factory, type) else None,
        )

    def accepts(self, name: str) -> bool:
        """Whether the name can be given; the name of ``self`` cannot, even with ``**kwargs``."""
        return name in self.parameters or (self.takes_keywords and name != self.own_name)

    def call_with(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The values as positional and keyword arguments; those before a positional one that is given take defaults."""
        only = [p for p in self.parameters.values() if p.kind is p.POSITIONAL_ONLY]
        while only and only[-1].name not in values:
            only.pop()
        names = {p.name for p in only}
        keywords = {name: value for name, value in values.items() if name not in names}
        return [values.get(p.name, p.default) for p in only], keywords


def constructor_values(signature: Signature, stored: StoredModule, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments by name.

    Args:
        signature: of the class or function.
        stored: content of the file.
        overrides: the caller's keywords, which override those in the file.

    Raises:
        MismatchError: an argument is neither in the file nor given, or a keyword is not accepted.
    """
    loaded: dict[str, Any] = copy.deepcopy(dict(stored.record.hyper_parameters)) | dict(overrides)
    together = stored.record.hparams_name if stored.record.hparams_name in signature.parameters else None
    if together is not None:
        loaded = {together: loaded}
    loaded |= overrides
    values = {name: value for name, value in loaded.items() if signature.accepts(name)}
    left_out = [
        name
        for name in stored.record.hyper_parameters_left_out
        if name not in overrides
        and (signature.accepts(name) if together in (None, name) else together not in overrides)
    ]
    required = [n for n, p in signature.parameters.items() if p.default is p.empty and n not in values]
    missing = list(dict.fromkeys([*required, *left_out]))
    unknown = [name for name in overrides if together is None and name not in values]
    if missing or unknown:
        raise MismatchError(_refusal(signature, stored, missing, unknown))
    return values


def _refusal(signature: Signature, stored: StoredModule, missing: list[str], unknown: list[str]) -> str:
    texts = []
    if missing:
        named = ", ".join(f"{name!r}{_type_of(signature, name)}" for name in missing)
        them = "it as a keyword" if len(missing) == 1 else "them as keywords"
        texts.append(f"the file does not hold {named}: give {them}, or give a function that creates the module")
    texts += [
        f"{name!r} is a keyword of load_from_checkpoint itself: bind it, functools.partial({signature.name}, {name}=…)"
        for name in missing
        if name in RESERVED
    ]
    if unknown:
        texts.append(f"it takes no {', '.join(unknown)}: leave them out")
    held = ", ".join(stored.record.hyper_parameters) or "none"
    start = f"{signature.name} cannot be built from {stored.source}"
    return f"{start}: {'; '.join(texts)}. The file's hyper-parameters: {held}."


def _type_of(signature: Signature, name: str) -> str:
    """The type that the constructor declares for an argument, in parentheses; empty without one."""
    annotation = signature.parameters[name].annotation if name in signature.parameters else _Parameter.empty
    if annotation is _Parameter.empty:
        return ""
    return f" ({annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)})"


def _own_name(kind: type) -> str | None:
    """The name of a constructor's first parameter, ``self``, if a keyword could collide with it."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())  # type: ignore[misc]
    first = parameters[0] if parameters else None
    return first.name if first is not None and first.kind is first.POSITIONAL_OR_KEYWORD else None
