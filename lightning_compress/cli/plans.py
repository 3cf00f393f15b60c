"""The command ``plans``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightning_compress.cli.options import Json
from lightning_compress.cli.output import print_result, print_table, write_text
from lightning_compress.errors import CompressionError
from lightning_compress.plan import DEFAULT_PLAN, PRESETS, Plan


def plans(
    name: Annotated[
        str | None, typer.Argument(help="A preset or a YAML file, to print as YAML.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The YAML file to write; by default the plan is printed.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the presets with their rules, or print or write one plan as YAML, to change it."""
    if output is not None:
        if name is None:
            raise CompressionError(f"no plan is named to write to {output}: give a preset, {', '.join(PRESETS)}")
        write_text(Plan.resolve(name).to_yaml(), output, as_json)
        return
    if name is not None:
        plan = Plan.resolve(name)
        print_result({"plan": plan.to_config()}, as_json, plan.to_yaml().rstrip())
        return
    if as_json:
        presets = {preset: plan.to_config() for preset, plan in PRESETS.items()}
        print_result({"plans": presets, "default": DEFAULT_PLAN}, True, "")
        return
    rows = [[f"{preset} (default)" if preset == DEFAULT_PLAN else preset, _methods(preset)] for preset in PRESETS]
    print_table(("plan", "methods"), rows, left=2)


def _methods(preset: str) -> str:
    """The methods of a preset, which has one rule for all tensors, in one line."""
    (rule,) = PRESETS[preset].to_config()["rules"]
    methods = (next(iter(method.items())) for method in rule["methods"])
    return " ".join(f"{name}({', '.join(f'{key}={value}' for key, value in of.items())})" for name, of in methods)
