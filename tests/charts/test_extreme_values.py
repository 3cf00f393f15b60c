"""Charts of values at the limits of their types: drawn without an error and without a warning."""

import math

import pytest
import torch
from each_case import naming

from lightning_compress.charts import frontier, heat_map, histogram_of, lines, ranked_bars, to_png, weight_histograms

EXTREME = {
    "largest": [1.7e308, -1.7e308, 3.0],
    "smallest": [5e-324, -5e-324, 0.0],
    "both": [1.7e308, 5e-324, -1.7e308],
    "infinite": [math.inf, -math.inf, 1.0],
    "unknown": [math.nan, math.nan, math.nan],
    "equal": [1e308, 1e308, 1e308],
}


@pytest.mark.usefixtures("layout_while_drawing")
@pytest.mark.parametrize("case", EXTREME)
def test_charts_of_extreme_values_are_drawn(case: str) -> None:
    values = EXTREME[case]
    histogram = {"class": histogram_of([torch.tensor(values, dtype=torch.float64)])}
    figures = {
        "lines": lambda: lines({"series": [*enumerate(values)]}, "x", "y", baseline=values[0]),
        "lines along": lambda: lines({"series": [(value, 1.0) for value in values]}, "x", "y"),
        "bands": lambda: lines({"a": [(0, 1.0)]}, "x", "y", intervals={"a": [(values[1], values[0])]}),
        "bars": lambda: ranked_bars(["a", "b", "c"], values, errors=[abs(value) for value in values]),
        "cells": lambda: heat_map(["a"], ["x", "y", "z"], [values]),
        "frontier": lambda: frontier([("", 10 + place, value) for place, value in enumerate(values)], values[0]),
        "histograms": lambda: weight_histograms(histogram, histogram),
    }
    for name, draw in figures.items():
        with naming(f"{name}: {case}"):
            assert to_png(draw(), dots_per_inch=30).startswith(b"\x89PNG")
