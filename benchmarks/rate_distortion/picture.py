"""BLEU against compression ratio, a panel a model, every curve with its name beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.rate_distortion.frontier import frontier
from benchmarks.rate_distortion.points import Point

# Okabe and Ito's colours, which colour-blind readers can tell apart; greys for others' methods.
STYLES = {
    "auto": ("auto", "#D55E00", "o"),
    "calibrated": ("calibrated", "#0072B2", "o"),
    "data-free": ("data-free", "#009E73", "o"),
    "presets": ("the paper's presets", "#CC79A7", "s"),
    "nncodec": ("NNCodec 2", "#333333", "D"),
    "int4": ("int4, groups", "#777777", "^"),
    "int8": ("int8, rows", "#777777", "v"),
    "bfloat16 + zstd": ("bfloat16 + zstd", "#777777", "P"),
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
        figure, panels = pyplot.subplots(
            1, len(models), figsize=(6.4 * len(models), 4.8), squeeze=False, layout="constrained"
        )
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
    panel.annotate("fp32", (1, baseline), xytext=(2, 3), textcoords="offset points", color="#777777", fontsize=9)
    labels = []
    for method, (label, colour, marker) in STYLES.items():
        every = [point for point in points if point.method == method and point.bleu >= low]
        curve = frontier(every)
        if not curve:
            continue
        panel.plot([p.ratio for p in every], [p.bleu for p in every], marker, color=colour, markersize=3, alpha=0.35)
        panel.plot([p.ratio for p in curve], [p.bleu for p in curve], marker=marker, color=colour, markersize=4.5)
        labels.append((curve[-1].ratio, curve[-1].bleu, label, colour))
    for ratio, bleu, height, label, colour in apart(labels):
        panel.annotate(
            label, (ratio, bleu), xytext=(ratio + 0.5, height), color=colour, fontsize=9, verticalalignment="center"
        )
    panel.set(title=TITLES.get(model, model), xlabel="compression ratio (fp32 bytes / bytes on disk)", ylabel="BLEU")
    panel.set_ylim(low, high)
    panel.set_xlim(0, max(29.0, max((ratio for ratio, *_ in labels), default=0) + 6))
    panel.grid(color="#E6E6E6", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def apart(labels: list[tuple[float, float, str, str]]) -> list[tuple[float, float, float, str, str]]:
    """Each label with a height at which it stands clear of those before it."""
    placed: list[tuple[float, float, float, str, str]] = []
    for ratio, bleu, label, colour in sorted(labels, key=lambda each: -each[1]):
        height = bleu
        for other, _, taken, _, _ in placed:
            if abs(other - ratio) < 6 and abs(taken - height) < LABEL_DISTANCE:
                height = taken - LABEL_DISTANCE
        placed.append((ratio, bleu, height, label, colour))
    return placed
