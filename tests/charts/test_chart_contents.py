"""Every chart: what is drawn is what was given; NaN, nothing, one point."""

from __future__ import annotations

import math

import numpy as np
import pytest
from chart_data import histogram, rows

from lightning_compress.charts import bytes_by_class, frontier, heat_map, lines, ranked_bars, weight_histograms
from lightning_compress.errors import ChartError

pytestmark = pytest.mark.usefixtures("layout_while_drawing")


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def widths(bars):
    return [bar.get_width() for bar in bars]


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def test_bytes_by_class_largest_first_over_what_they_were():
    figure = bytes_by_class(rows(("small", 4_000, 1_000), ("large", 8_000_000, 2_500_000)))
    axes = figure.axes[0]
    assert labels(axes.yaxis) == ["large", "small"]
    assert axes.yaxis.get_inverted()
    raw, kept = axes.containers
    assert widths(raw) == [8_000_000, 4_000]
    assert widths(kept) == [2_500_000, 1_000]
    assert texts(axes) == ["2.50 MB · 31.2%", "1.00 kB · 25.0%"]
    assert legend(figure) == ["uncompressed", "in the file"]


def test_bytes_by_class_of_a_class_without_weights():
    assert texts(bytes_by_class(rows(("empty", 0, 0))).axes[0]) == ["0 B"]


def test_histograms_of_each_class_before_and_after():
    before, after = {"a": histogram(5, 70, 5), "b": histogram(1, 2, 1)}, {"a": histogram(0, 80, 0), "c": histogram(1)}
    figure = weight_histograms(before, after)
    panels = figure.axes[:3]
    assert [panel.get_title(loc="left") for panel in panels] == ["a", "b", "c"]
    assert not figure.axes[3].axison
    assert [[list(patch.get_data().values) for patch in panel.patches] for panel in panels] == [
        [[5, 70, 5], [0, 80, 0]],
        [[1, 2, 1]],
        [[1]],
    ]
    assert all(panel.get_yscale() == "log" for panel in panels)
    low, high = panels[0].get_ylim()
    assert 0 < low < 1
    assert high > 80  # the spike at 0 lies inside
    assert legend(figure) == ["before", "after"]


def test_histograms_without_the_exact_weights():
    assert legend(weight_histograms({}, {"a": histogram(1, 2, 3)})) == ["after"]


def test_the_frontier_connects_the_nondominated_files():
    points = [("big", 9e6, 37.0), ("beaten", 6e6, 30.0), ("small", 2e6, 35.0), ("lost", 3e6, math.nan)]
    figure = frontier(points, 37.5)
    axes = figure.axes[0]
    baseline, everything, best = axes.lines
    assert list(baseline.get_ydata()) == [37.5, 37.5]
    assert list(everything.get_xdata()) == [2e6, 6e6, 9e6]
    assert list(zip(best.get_xdata(), best.get_ydata(), strict=True)) == [(2e6, 35.0), (9e6, 37.0)]
    assert texts(axes) == ["small", "beaten", "big"]
    assert "4 MB" in labels(axes.xaxis)
    assert legend(figure) == ["exact weights", "unbeaten files"]


@pytest.mark.parametrize("baseline", [None, math.nan])
def test_frontier_without_a_baseline(baseline):
    assert legend(frontier([("", 1e3, 1.0)], baseline)) == ["unbeaten files"]


def test_frontier_of_many_points_names_none():
    points = [(str(k), 1e3 + k, float(k)) for k in range(13)]
    assert texts(frontier(points).axes[0]) == []
    assert texts(frontier([("", *point[1:]) for point in points] + [("one", 1e3, -1.0)]).axes[0]) == ["one"]


def test_heat_map_shows_numbers_and_what_is_missing():
    figure = heat_map(["a", "b"], ["weak", "strong"], [[0.0, 2.5], [math.nan, 1.0]], "Loss", "BLEU")
    axes, scale = figure.axes
    assert labels(axes.yaxis) == ["a", "b"]
    assert labels(axes.xaxis) == ["weak", "strong"]
    shown = axes.images[0].get_array()
    assert shown.mask.tolist() == [[False, False], [True, False]]
    assert shown.compressed().tolist() == [0.0, 2.5, 1.0]
    assert texts(axes) == ["0.0", "2.5", "–", "1.0"]
    assert figure.get_suptitle() == "Loss"
    assert scale.get_ylabel() == "BLEU"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([-0.001, 0.126, 11.08], ["0.00", "0.13", "11.08"]),
        ([0.0, 0.04], ["0.00", "0.04"]),
        ([1200.0, 90000.0], ["1200", "90000"]),
        ([3.0, 3.0], ["3", "3"]),
        ([0.0, 0.0], ["0", "0"]),
    ],
)
def test_heat_map_numbers_have_the_digits_that_their_span_asks_for(values, shown):
    assert texts(heat_map(["a"], list("xyz")[: len(values)], [values]).axes[0]) == shown


def test_heat_map_numbers_contrast_with_their_field():
    colours = [text.get_color() for text in heat_map(["a"], ["x", "y", "z"], [[0, 10, math.nan]]).axes[0].texts]
    assert colours == ["white", "black", "black"]


def test_heat_map_of_nothing_known_has_no_scale():
    figure = heat_map(["a"], ["x"], [[math.inf]])
    assert len(figure.axes) == 1
    assert texts(figure.axes[0]) == ["–"]


def test_heat_map_of_many_columns_has_no_numbers():
    assert texts(heat_map(["a"], [str(k) for k in range(9)], [list(range(9))]).axes[0]) == []


def test_heat_map_of_another_shape():
    with pytest.raises(ChartError, match=r"shape \[1, 2\], expected 2 rows × 1 columns"):
        heat_map(["a", "b"], ["x"], [[1, 2]])


def test_ranked_bars_by_size_and_unknown_last():
    figure = ranked_bars(["low", "none", "high"], [-1.0, math.nan, 2.0], [0.1, 0.2, 0.3], "Ranks", "BLEU")
    axes = figure.axes[0]
    assert labels(axes.yaxis) == ["high", "low", "none"]
    bars = next(container for container in axes.containers if hasattr(container, "patches"))
    assert widths(bars) == [2.0, -1.0, 0.0]
    assert [text for text in texts(axes) if text] == ["2", "−1", "–"]
    segments = bars.errorbar.lines[2][0].get_segments()
    assert np.allclose([[start[0], end[0]] for start, end in segments], [[1.7, 2.3], [-1.1, -0.9], [-0.2, 0.2]])
    assert axes.get_xlabel() == "BLEU"
    assert figure.get_suptitle() == "Ranks"


def test_ranked_bars_with_lower_and_upper_errors():
    axes = ranked_bars(["a", "b"], [1.0, 2.0], [[0.1, 0.5], [0.2, 0.6]]).axes[0]
    bars = next(container for container in axes.containers if hasattr(container, "patches"))
    segments = bars.errorbar.lines[2][0].get_segments()
    assert np.allclose([[start[0], end[0]] for start, end in segments], [[1.5, 2.6], [0.9, 1.2]])


@pytest.mark.parametrize(
    ("values", "errors", "sentence"),
    [
        ([1.0], None, r"2 names and values of shape \[1\]"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"errors of shape \[3\] do not fit 2"),
    ],
)
def test_ranked_bars_of_other_lengths(values, errors, sentence):
    with pytest.raises(ChartError, match=sentence):
        ranked_bars(["a", "b"], values, errors)


def test_lines_with_baseline_and_intervals():
    series = {"ours": [(1, 3.0), (2, 2.0)], "theirs": [(1, 2.5)]}
    figure = lines(series, "ratio", "BLEU", "Curves", 3.5, {"ours": [(2.5, 3.5), (1.5, 2.5)]})
    axes = figure.axes[0]
    ours, theirs, baseline = axes.lines
    assert list(zip(ours.get_xdata(), ours.get_ydata(), strict=True)) == [(1, 3.0), (2, 2.0)]
    assert list(theirs.get_ydata()) == [2.5]
    assert ours.get_color() != theirs.get_color()
    assert ours.get_marker() != theirs.get_marker()
    assert list(baseline.get_ydata()) == [3.5, 3.5]
    band = axes.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == (1.5, 3.5)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("ratio", "BLEU", "Curves")
    assert legend(figure) == ["ours", "theirs", "exact weights"]


def test_lines_of_one_series_named_by_the_title_have_no_legend():
    assert legend(lines({"val_bleu": [(0, 1.0)]}, "step", "", "val_bleu")) == []
    assert legend(lines({"val_bleu": [(0, 1.0)]}, "step", "", "Quality")) == ["val_bleu"]


def test_lines_of_large_numbers_are_read_without_powers():
    axes = lines({"bytes": [(0, 7_200_000.0), (1, 7_700_000.0)]}, "step", "").axes[0]
    assert "7.5M" in labels(axes.yaxis)
    assert axes.yaxis.get_offset_text().get_text() == ""


def test_lines_with_a_gap():
    drawn = lines({"a": [(0, 1.0), (1, math.nan), (2, 3.0)]}, "x", "y").axes[0].lines[0]
    assert np.isnan(drawn.get_ydata()[1])


@pytest.mark.parametrize(
    ("intervals", "sentence"),
    [({"b": [(0, 1)]}, "intervals are given for 'b'"), ({"a": []}, "1 points and 0 intervals")],
)
def test_lines_with_intervals_that_do_not_fit(intervals, sentence):
    with pytest.raises(ChartError, match=sentence):
        lines({"a": [(0, 1.0)]}, "x", "y", intervals=intervals)
