"""Bar chart of the bytes of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lightning_compress.charts.style import (
    MAIN,
    PALE,
    ROW,
    bytes_text,
    chart_style,
    count_text,
    empty_figure,
    freeze_layout,
    label_rows,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ClassBytes(Protocol):
    """Row of the chart; :class:`~lightning_compress.archive.ClassReport` implements it."""

    @property
    def class_name(self) -> str:
        """Name of the class."""

    @property
    def weights(self) -> int:
        """Number of weights."""

    @property
    def raw_bytes(self) -> int:
        """Bytes of the weights uncompressed."""

    @property
    def bytes(self) -> int:
        """Bytes of the weights in the file."""


@chart_style()
def bytes_by_class(rows: Sequence[ClassBytes]) -> Figure:
    """Bytes of each class, the largest first, in front of pale bars of the uncompressed bytes.

    Each bar is labelled with its bytes and their share of the uncompressed bytes.

    Raises:
        ChartError: matplotlib is not installed.
    """
    if not rows:
        return empty_figure("no classes")
    ordered = sorted(rows, key=lambda row: (-row.bytes, row.class_name))
    places = range(len(ordered))
    figure = new_figure(1.0 + ROW * 1.3 * len(ordered))
    axes = figure.subplots()
    axes.barh(places, [row.raw_bytes for row in ordered], height=0.7, color=PALE, label="uncompressed")
    axes.barh(places, [row.bytes for row in ordered], height=0.7, color=MAIN, label="in the file")
    for place, row in enumerate(ordered):
        end = (max(row.raw_bytes, row.bytes), place)
        axes.annotate(_described(row), end, xytext=(4, 0), textcoords="offset points", verticalalignment="center")
    label_rows(axes, [row.class_name for row in ordered])
    axes.set_title("Bytes by class")
    axes.set_xlim(0, 1.45 * max(1, *(max(row.raw_bytes, row.bytes) for row in ordered)))
    axes.xaxis.set_major_formatter(lambda value, _: count_text(value, "B"))
    axes.locator_params(axis="x", nbins=5)
    figure.legend(loc="outside lower center", ncols=2)
    return freeze_layout(figure)


def _described(row: ClassBytes) -> str:
    share = f" · {row.bytes / row.raw_bytes:.1%}" if row.raw_bytes else ""
    return bytes_text(row.bytes) + share
