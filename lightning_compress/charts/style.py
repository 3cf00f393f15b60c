"""The common style of all charts, independent of the user's matplotlib settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_compress.errors import ChartError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# The colour-blind safe palette of Okabe and Ito; the pale yellow last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
MAIN, SECOND = COLOURS[0], COLOURS[1]
PALE = "#CFD8DF"
QUIET = "#5F6B73"
WIDTH = 5.2  # inches: on a phone screen of 390 pixels the text is still 10 pixels high
ROW = 0.27  # inches per row of text
LONGEST = 26  # characters of a label
LONGEST_TITLE = 46  # characters of a title, or of the name of an axis
_LARGE = 20_000
_LARGEST, _SMALLEST = 1e100, 1e-100  # matplotlib computes with sums, squares and ratios of what it draws

_SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9AA5AD",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.labelcolor": QUIET,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.dpi": 150,  # resolution for measuring text, as in a PNG
    "figure.facecolor": "white",
    "font.size": 11,
    "grid.color": "#E6EAED",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "lightning-compress",
    "text.hinting": "none",
    "text.parse_math": False,  # dollar signs in a name are not mathematics
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "ytick.labelcolor": "black",
}


@contextmanager
def chart_style() -> Iterator[None]:
    """A context, or decorator, in which charts are drawn and saved in the common style.

    Raises:
        ChartError: matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ModuleNotFoundError as error:
        raise ChartError("charts need matplotlib: pip install lightning-compress[charts]") from error
    with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a browser falls back to another font
        yield


def new_figure(height: float) -> Figure:
    """An empty figure of the common width, ``height`` inches high, without a window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def freeze_layout(figure: Figure) -> Figure:
    """The figure with its layout fixed: another layout pass would move elements by a fraction of a pixel."""
    for _ in range(2):  # in the first pass, the sizes of labels are not final
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def empty_figure(text: str) -> Figure:
    """A small figure with a text that explains why it is empty."""
    figure = new_figure(1.0)
    figure.text(0.5, 0.5, text, horizontalalignment="center", verticalalignment="center", color=QUIET)
    return freeze_layout(figure)


def label_rows(axes: Axes, names: list[str]) -> None:
    """Label the rows 0, 1, … of a chart from top to bottom."""
    axes.set_yticks(range(len(names)), [shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def format_large_numbers(axis: Axis, values: Iterable[float]) -> None:
    """Format large numbers at an axis as ``7.5M`` instead of multiples of a separate power of ten."""
    if max((abs(value) for value in values), default=0.0) >= _LARGE:
        axis.set_major_formatter(lambda value, _: count_text(value))


def title_at_left(figure: Figure, title: str) -> None:
    """Write the title at the left edge of the figure, for charts whose axes begin far from it, behind long labels."""
    text = shortened(title, LONGEST_TITLE)
    figure.suptitle(text, x=0.02, ha="left", fontsize=_SETTINGS["axes.titlesize"], fontweight="bold")


def include_values(axes: Axes, values: Sequence[float] | None) -> None:
    """Widen the axis of y so that it includes these values, with a margin beyond what is drawn."""
    if not values:
        return
    drawn, included = axes.get_ylim(), [float(value) for value in drawable(values)]
    low, high = min(drawn[0], *included), max(drawn[1], *included)
    margin = 0.05 * (high - low)
    axes.set_ylim(low if low < drawn[0] else low - margin, high if high > drawn[1] else high + margin)


def drawable(values: ArrayLike) -> NDArray[np.float64]:
    """Values for matplotlib: those beyond ±1e100 as ±1e100, those within ±1e-100 as 0, NaN as it is."""
    given = np.asarray(values, np.float64)
    return np.where(np.abs(given) < _SMALLEST, 0.0, np.clip(given, -_LARGEST, _LARGEST))


def shortened(name: str, longest: int = LONGEST) -> str:
    """The name in one line of at most ``longest`` characters; a longer name loses its middle."""
    line = "".join(letter if letter.isprintable() else "�" for letter in " ".join(name.split()))
    kept = longest - 1
    return line if len(line) <= longest else f"{line[: kept // 2]}…{line[len(line) - (kept - kept // 2) :]}"


def count_text(count: float, unit: str = "") -> str:
    """Format a round number at an axis: ``300``, ``20k``, ``1M``; with a unit ``300 B``, ``20 kB``, ``1 MB``."""
    size, prefix = next((s for s in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(count) >= s[0]), (1.0, ""))
    return f"{count / size:g}{' ' if unit else ''}{prefix}{unit}"


def bytes_text(nbytes: float) -> str:
    """Format a size with three digits and a decimal unit.

    >>> bytes_text(7755375)
    '7.76 MB'
    >>> bytes_text(999_999)
    '1.00 MB'
    >>> bytes_text(12)
    '12 B'
    """
    if abs(nbytes) < 1000:
        return f"{nbytes:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        nbytes /= 1000
        digits = 2 if abs(nbytes) < 9.995 else 1 if abs(nbytes) < 99.95 else 0
        if abs(nbytes) < 999.5 or unit == "TB":
            break
    return f"{nbytes:.{digits}f} {unit}"
