"""Writes figures to PNG and SVG files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_compress.charts import to_png, to_svg
from recipes.paper.figures.model_comparison import COMPARISONS
from recipes.paper.figures.single_model import PICTURES
from recipes.paper.results.model_results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(model: Results, names: Collection[str] = tuple(PICTURES)) -> dict[str, Figure]:
    """The figures of one model by name (a key of ``PICTURES``); a figure without data is left out.

    Raises:
        ChartError: matplotlib is not installed.
    """
    drawn = {name: make(model) for name, make in PICTURES.items() if name in names}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def comparisons(models: Sequence[Results]) -> dict[str, Figure]:
    """The figures that compare several models; a figure without data is left out.

    Raises:
        ChartError: matplotlib is not installed.
    """
    drawn = {name: make(models) for name, make in COMPARISONS.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def save(figure: Figure, name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``NAME.png`` and ``NAME.svg``; the same figure gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    png.write_bytes(to_png(figure))
    svg.write_text(to_svg(figure), encoding="utf-8")
    return png, svg
