"""Which tensors share the parameters of a quantizer: all of a rule, those of a class, or each alone."""

from __future__ import annotations

from typing import Literal, get_args

from lightning_compress.errors import PlanError

Sharing = Literal["model", "class", "tensor"]


def check_sharing(method: str, scope: object) -> None:
    """Raise a PlanError where a scope is none of these."""
    if scope not in get_args(Sharing):
        raise PlanError(f"{method}: scope {scope!r} is unknown; write one of {', '.join(get_args(Sharing))}")


def group_key(scope: Sharing, name: str, class_name: str) -> str:
    """Key of the tensors that share parameters with the one of this name and class."""
    return {"model": "", "class": class_name, "tensor": name}[scope]
