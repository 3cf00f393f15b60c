"""BLEU against compression ratio, a panel a model, every curve with its name beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rate_distortion.points import Point


@dataclass(frozen=True)
class Style:
    """How a method is drawn.

    Its label stands at the end of the curve, or ``below`` it with a thin line up to it. ``single`` points have no
    curve, and their label stands above.
    """

    label: str
    colour: str
    marker: str
    below: bool = False
    single: bool = False


# Okabe and Ito's colours, which colour-blind readers can tell apart; greys for others' methods.
STYLES = {
    "auto": Style("auto", "#000000", "*", single=True),
    "calibrated": Style("calibrated", "#0072B2", "o"),
    "observed": Style("observed", "#56B4E9", "o"),
    "data-free": Style("data-free", "#009E73", "o"),
    "nncodec": Style("NNCodec 2", "#333333", "D"),
    "bfloat16 + zstd": Style("bfloat16 + zstd", "#777777", "P", below=True),
    "int8": Style("int8", "#777777", "v", below=True),
    "presets": Style("presets", "#CC79A7", "s", below=True),
    "int4": Style("int4", "#777777", "^", below=True),
}
TITLES = {"transformer": "Transformer", "rnn": "RNN"}
DROPS = (6.0, 0.6)  # BLEU below and above the baseline that are shown
LABEL_DISTANCE = 0.36  # BLEU between two labels


def draw(points: Iterable[Point], paths: Iterable[Path]) -> None:
    """Draw the points of one text into files; their suffixes say the formats.

    Raises:
        ValueError: a model has no point of the baseline.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    points = list(points)
    models = list(dict.fromkeys(point.model for point in points))
    settings: Any = {"svg.hashsalt": "rate-distortion", "svg.fonttype": "none", "font.size": 10}
    with matplotlib.rc_context(settings):
        size = (6.4 * len(models), 4.8)
        figure, panels = pyplot.subplots(1, len(models), figsize=size, squeeze=False, layout="constrained")
        for panel, model in zip(panels[0], models, strict=True):
            _panel(panel, model, [point for point in points if point.model == model])
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=150, metadata=metadata)
        pyplot.close(figure)


def _panel(panel: Any, model: str, points: list[Point]) -> None:
    baseline = next((point.bleu for point in points if point.method == "fp32"), None)
    if baseline is None:
        raise ValueError(f"there is no point of fp32 for {model}: measure it first")
    low, high = baseline - DROPS[0], baseline + DROPS[1]
    panel.axhline(baseline, color="#999999", linewidth=0.8, linestyle=(0, (4, 3)))
    panel.annotate("fp32", (0, baseline), xytext=(3, 3), textcoords="offset points", color="#777777", fontsize=9)
    curves: dict[str, list[Point]] = {}
    for method, style in STYLES.items():
        own = [point for point in points if point.method == method]
        curve = sorted(own, key=lambda point: point.ratio)  # a frontier would show the lucky ones alone
        look: dict[str, Any] = {"marker": style.marker, "color": style.colour}
        if style.single:
            panel.plot([p.ratio for p in own], [p.bleu for p in own], linestyle="", markersize=10, zorder=3, **look)
        else:
            panel.plot([p.ratio for p in curve], [p.bleu for p in curve], markersize=4.5, **look)
        if visible := [point for point in curve if point.bleu >= low]:
            curves[method] = visible
    ends = {name: curve[-1] for name, curve in curves.items() if not STYLES[name].below}
    _label_ends(panel, {name: point for name, point in ends.items() if not STYLES[name].single})
    for name, point in ends.items():
        if STYLES[name].single:
            _label_apart(panel, STYLES[name], point, high)
    _label_below(panel, {name: curve[len(curve) // 2] for name, curve in curves.items() if STYLES[name].below})
    panel.set(title=TITLES.get(model, model), xlabel="compression ratio (fp32 bytes / bytes on disk)", ylabel="BLEU")
    panel.set_ylim(low, high)
    panel.set_xlim(0, max(29.0, *(curve[-1].ratio + 6 for curve in curves.values()), 0.0))
    panel.grid(color="#E6E6E6", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def _label_ends(panel: Any, ends: dict[str, Point]) -> None:
    heights = apart({name: (point.ratio, point.bleu) for name, point in ends.items()})
    for name, point in ends.items():
        style, place = STYLES[name], (point.ratio + 0.5, heights[name])
        panel.text(*place, style.label, color=style.colour, fontsize=9, verticalalignment="center")


def _label_below(panel: Any, anchors: dict[str, Point]) -> None:
    height = float("inf")
    for name, point in sorted(anchors.items(), key=lambda each: -each[1].ratio):
        style = STYLES[name]
        height = min(height - LABEL_DISTANCE, point.bleu - 3 * LABEL_DISTANCE)
        _label_apart(panel, style, point, height)


def _label_apart(panel: Any, style: Style, point: Point, height: float) -> None:
    """A label at another height than its point, with a thin line to it."""
    panel.annotate(
        style.label,
        (point.ratio, point.bleu),
        xytext=(point.ratio, height),
        color=style.colour,
        fontsize=9,
        verticalalignment="top",
        arrowprops={"arrowstyle": "-", "color": style.colour, "linewidth": 0.5, "relpos": (0, 1), "shrinkA": 0},
    )


def apart(places: dict[str, tuple[float, float]]) -> dict[str, float]:
    """For labels that start at a ratio and a BLEU, the heights at which none stands on another."""
    heights: dict[str, float] = {}
    for name, (ratio, bleu) in sorted(places.items(), key=lambda each: -each[1][1]):
        near = [heights[other] for other in heights if abs(places[other][0] - ratio) < 6]
        heights[name] = min([bleu, *(taken - LABEL_DISTANCE for taken in near)])
    return heights
