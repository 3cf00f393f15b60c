"""Deterministic PNG and SVG export: the same figure gives the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lightning_compress.charts.style import chart_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@chart_style()
def to_png(figure: Figure, *, dots_per_inch: float = 150) -> bytes:
    """The figure as a PNG file, without metadata."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return file.getvalue()


@chart_style()
def to_svg(figure: Figure) -> str:
    """The figure as an SVG document, with selectable text and without metadata."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_NO_METADATA)
    return file.getvalue()
