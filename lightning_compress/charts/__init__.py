"""Charts of compression results: functions from plain numbers to a matplotlib figure."""

from lightning_compress.charts.bar_charts import ranked_bars
from lightning_compress.charts.class_bytes import bytes_by_class
from lightning_compress.charts.export import to_png, to_svg
from lightning_compress.charts.heat_maps import heat_map
from lightning_compress.charts.histogram import Histogram, central_range, common_bins, histogram_of
from lightning_compress.charts.histogram_panels import weight_histograms
from lightning_compress.charts.line_charts import lines
from lightning_compress.charts.rate_distortion import frontier
from lightning_compress.charts.style import MAIN, ROW, chart_style, freeze_layout, label_rows, new_figure

__all__ = [
    "MAIN",
    "ROW",
    "Histogram",
    "bytes_by_class",
    "central_range",
    "chart_style",
    "common_bins",
    "freeze_layout",
    "frontier",
    "heat_map",
    "histogram_of",
    "label_rows",
    "lines",
    "new_figure",
    "ranked_bars",
    "to_png",
    "to_svg",
    "weight_histograms",
]
