"""What a file loses against its ratio, with training and without: one panel a model.

    python -m benchmarks.training.picture CSV PICTURE [--split test]

CSV is what ``python -m benchmarks.training … --results`` wrote. Bars are 95 % intervals by paired bootstrap.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.training.scoring import Comparison, read

# Okabe and Ito's colours, which colour-blind readers can tell apart.
STYLES = {
    "search": ("search, no training", "#777777", "s"),
    "rate": ("rate-penalised training", "#0072B2", "o"),
    "factors": ("half the weights, rate-penalised", "#D55E00", "^"),
}
TITLES = {"transformer": "Transformer", "rnn": "RNN"}
_APART = 0.012  # of curves, so that their bars do not lie on each other


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw the comparisons of one text into a file; the suffix says the format."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = [kind for kind in TITLES if any(each.kind == kind for each in comparisons)]
    with matplotlib.rc_context({"svg.hashsalt": "training", "svg.fonttype": "none", "font.size": 10}):
        size = (5.6 * len(kinds), 4.2)
        figure, panels = pyplot.subplots(1, len(kinds), figsize=size, squeeze=False, sharey=True, layout="constrained")
        for panel, kind in zip(panels[0], kinds, strict=True):
            _panel(panel, [each for each in comparisons if each.kind == kind])
            panel.set_title(TITLES[kind])
        panels[0][0].set_ylabel("change of BLEU")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
        pyplot.close(figure)


def _panel(panel: Any, comparisons: Sequence[Comparison]) -> None:
    panel.axhline(0, color="#999999", linewidth=0.8, linestyle=(0, (4, 3)))
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
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, loc="lower left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    draw([each for each in read(options.results) if each.split == options.split], options.picture)


if __name__ == "__main__":
    main()
