"""Bar chart of the weight classes in model order, so that figure 5 shows the effect of depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_compress.charts import MAIN, ROW, chart_style, freeze_layout, label_rows, new_figure
from recipes.paper.results.class_order import in_model_order
from recipes.paper.results.rows import Tolerance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@chart_style()
def class_bars(rows: Sequence[Tolerance], title: str) -> Figure:
    """BisectionResult share of each class that keeps BLEU, in percent; a dash where none does.

    Raises:
        ChartError: matplotlib is not installed.
    """
    places = in_model_order(row.class_name for row in rows)
    rows = sorted(rows, key=lambda row: places.index(row.class_name))
    shares = [None if row.share is None else 100 * row.share for row in rows]
    figure = new_figure(0.9 + ROW * 1.15 * len(rows))
    axes = figure.subplots()
    bars = axes.barh(np.arange(len(rows)), [share or 0.0 for share in shares], height=0.7, color=MAIN)
    axes.bar_label(bars, ["–" if share is None else f"{share:.3g}" for share in shares], padding=4, fontsize=8.5)
    label_rows(axes, [row.class_name for row in rows])
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_title(title)
    axes.set_xlabel("largest share that keeps BLEU (%)")
    return freeze_layout(figure)
