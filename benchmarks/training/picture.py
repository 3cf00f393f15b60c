"""What a file loses against its ratio, with training and without: one panel a model.

    python -m benchmarks.training.picture CSV SVG [--split test]

CSV is what ``python -m benchmarks.training … --results`` wrote. Bars are 95 % intervals by paired bootstrap.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.training.scoring import Comparison, read
from lightning_compress.charts import MAIN, chart_style, freeze_layout, to_svg

QUIET = "#777777"
STYLES = {
    "search": ("search, no training", QUIET, "s"),
    "rate": ("rate-penalised training", MAIN, "o"),
    "factors": ("half the weights, rate-penalised", "#D55E00", "^"),
}
TITLES = {"transformer": "Transformer", "rnn": "RNN"}
_APART = 0.012  # of curves, so that their bars do not lie on each other


@chart_style()
def draw(comparisons: Sequence[Comparison]) -> str:
    """The comparisons of one text as an SVG document."""
    from matplotlib.figure import Figure

    kinds = [kind for kind in TITLES if any(each.kind == kind for each in comparisons)]
    figure = Figure(figsize=(5.6 * len(kinds), 4.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for panel, kind in zip(panels, kinds, strict=True):
        _panel(panel, [each for each in comparisons if each.kind == kind])
        panel.set_title(TITLES[kind])
    panels[0].set_ylabel("change of BLEU")
    return to_svg(freeze_layout(figure))


def _panel(panel: Any, comparisons: Sequence[Comparison]) -> None:
    panel.axhline(0, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    names = [name for name in STYLES if any(each.name == name for each in comparisons)]
    for place, name in enumerate(names):
        label, colour, marker = STYLES[name]
        points = sorted((each for each in comparisons if each.name == name), key=lambda each: each.ratio)
        changes = [each.change for each in points]
        bars = [[each.change - each.low for each in points], [each.high - each.change for each in points]]
        moved = [each.ratio * (1 + _APART * (place - (len(names) - 1) / 2)) for each in points]
        panel.errorbar(
            moved, changes, bars, label=label, color=colour, marker=marker, markersize=5, linewidth=1.4, elinewidth=0.8
        )
    panel.set_xlabel("exact bytes over those of the file")
    panel.legend(loc="lower left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    shown = [each for each in read(options.results) if each.split == options.split]
    options.picture.write_text(draw(shown), encoding="utf-8")


if __name__ == "__main__":
    main()
