"""Pictures of what compression does: plain numbers in, a matplotlib figure out."""

from lightning_compress.charts.class_bytes import bytes_by_class
from lightning_compress.charts.curves import lines
from lightning_compress.charts.export import to_png, to_svg
from lightning_compress.charts.histogram import Histogram, central_range, histogram_of
from lightning_compress.charts.histograms import weight_histograms
from lightning_compress.charts.matrix import heat_map
from lightning_compress.charts.ranking import ranked_bars
from lightning_compress.charts.rate_distortion import frontier
from lightning_compress.charts.style import MAIN, ROW, drawing, name_rows, new_figure, settled

__all__ = [
    "MAIN",
    "ROW",
    "Histogram",
    "bytes_by_class",
    "central_range",
    "drawing",
    "frontier",
    "heat_map",
    "histogram_of",
    "lines",
    "name_rows",
    "new_figure",
    "ranked_bars",
    "settled",
    "to_png",
    "to_svg",
    "weight_histograms",
]
