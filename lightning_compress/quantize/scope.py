"""Which tensors share what a quantizer finds: all of a rule, those of a class, or each alone."""

from __future__ import annotations

from typing import Literal, get_args

from lightning_compress.errors import PlanError

Scope = Literal["model", "class", "tensor"]


def check_scope(method: str, scope: object) -> None:
    """Raise a PlanError where a scope is none of these."""
    if scope not in get_args(Scope):
        raise PlanError(f"{method}: scope {scope!r} is unknown; write one of {', '.join(get_args(Scope))}")


def group_key(scope: Scope, name: str, class_name: str) -> str:
    """Key of the tensors that share with the one of this name and class."""
    return {"model": "", "class": class_name, "tensor": name}[scope]
