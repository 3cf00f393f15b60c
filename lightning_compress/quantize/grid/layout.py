"""The streams of a grid payload, from the parameters in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid.contexts import MAX_CONTEXTS
from lightning_compress.quantize.grid.matrix import EXPONENT_SPREAD, MAX_EXPONENT
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.quantize.payload import StreamSpec

GRID_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SIDES = ("rows", "columns")


def layout_of(parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
    """Names and sizes of the streams of a tensor of ``count`` elements.

    Raises:
        FormatError: parameters of a wrong type or range.
    """
    if dtype not in GRID_DTYPES:
        raise FormatError(f"grid payload of {dtype}, expected a floating-point tensor of 16 to 64 bits")
    step, trellis, width = (parameters.get(key) for key in ("step", "trellis", "width"))
    if not isinstance(step, float) or not 0 < step < math.inf:
        raise FormatError(f"the step of a grid is {step!r}, expected a positive float")
    if type(trellis) is not int or trellis not in (0, *TRELLISES):
        raise FormatError(f"a trellis of {trellis!r} states is unknown, expected one of 0, {_known()}")
    if type(width) is not int or width not in (1, 2):
        raise FormatError(f"grid indices have words of {width!r} bytes, expected 1 or 2")
    specs, groups = _side_streams(parameters, count), _groups(parameters, count)
    indices = {"indices": StreamSpec(count, width, groups)} if count else {}
    return specs | indices


def _known() -> str:
    return ", ".join(map(str, TRELLISES))


def _side_streams(parameters: Mapping[str, Any], count: int) -> dict[str, StreamSpec]:
    """The streams of rows and columns."""
    if not {"rows", "classes", "exponent", "offset"} & set(parameters):
        return {}
    rows, sides = parameters.get("rows"), parameters.get("classes", [])
    if type(rows) is not int or not 1 <= rows <= count or count % rows:
        raise FormatError(f"a grid of {count} elements has {rows!r} rows, expected a divisor")
    if not isinstance(sides, list) or sides != [side for side in SIDES if side in sides]:
        raise FormatError(f"sides of a grid with classes are {sides!r}, expected some of {', '.join(SIDES)}")
    specs = {}
    if "exponent" in parameters:
        lowest = parameters["exponent"]
        if type(lowest) is not int or not -MAX_EXPONENT <= lowest <= MAX_EXPONENT - EXPONENT_SPREAD:
            raise FormatError(
                f"the smallest row exponent is {lowest!r}, expected a whole number within ±{MAX_EXPONENT}"
            )
        specs["row_exponents"] = StreamSpec(rows, 1)
    if "rows" in sides:
        specs["row_classes"] = StreamSpec(rows, 1)
    if "columns" in sides:
        specs["column_classes"] = StreamSpec(count // rows, 1)
    if "offset" in parameters:
        unit = parameters["offset"]
        if not isinstance(unit, float) or not 0 < unit < math.inf:
            raise FormatError(f"the unit of the offsets of a grid is {unit!r}, expected a positive float")
        specs["column_offsets"] = StreamSpec(count // rows, 2)
    return specs


def _groups(parameters: Mapping[str, Any], count: int) -> tuple[int, ...]:
    """Numbers of words in each context, none where there is one context."""
    if "groups" not in parameters:
        return ()
    groups = parameters["groups"]
    if (
        not isinstance(groups, list)
        or not 2 <= len(groups) <= MAX_CONTEXTS
        or not all(type(g) is int and g >= 0 for g in groups)
    ):
        raise FormatError(f"groups of a grid are {groups!r}, expected 2 to {MAX_CONTEXTS} whole numbers")
    if sum(groups) != count:
        raise FormatError(f"groups of a grid hold {sum(groups)} elements, expected {count}")
    return tuple(groups)
