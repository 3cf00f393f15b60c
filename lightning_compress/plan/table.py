"""The table of methods in docs/plans.md, from the descriptions in their classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any

from lightning_compress.plan.contract import Method


def methods_table(methods: Iterable[type[Method]]) -> str:
    """Markdown: for each method its id, its role, how it is written in Python, and the first line of its docstring."""
    rows = [
        f"| `{method.id}` | {method.role} | `{method.__name__}({', '.join(map(_parameter, fields(method)))})` "
        f"| {_first_line(method)} |"
        for method in methods
    ]
    return "\n".join(["| in YAML | role | in Python | what it does |", "|---|---|---|---|", *rows])


def _parameter(field: Field[Any]) -> str:
    return field.name if field.default is MISSING else f"{field.name}={field.default!r}"


def _first_line(method: type[Method]) -> str:
    return (method.__doc__ or "").strip().partition("\n")[0].replace("``", "`").replace("|", "\\|")
