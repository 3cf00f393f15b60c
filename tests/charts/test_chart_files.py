"""Charts as SVG and PNG: equal bytes, long and hostile names, nothing to show, and matplotlib's own settings."""

from __future__ import annotations

import math
import sys

import pytest
from chart_data import histogram, rows

from lightning_compress.charts import (
    bytes_by_class,
    frontier,
    heat_map,
    lines,
    ranked_bars,
    to_png,
    to_svg,
    weight_histograms,
)
from lightning_compress.errors import ChartError, CompressionError

LONG = "a very long name of a class " * 20
HOSTILE = "$x_{$ <script>alert('&')</script>\x00\ud800 字"

EMPTY = {
    "bytes": lambda: bytes_by_class([]),
    "histograms": lambda: weight_histograms({}, {}),
    "frontier": lambda: frontier([("a", 1e3, math.nan)], 1.0),
    "heat map": lambda: heat_map([], ["x"], []),
    "bars": lambda: ranked_bars([], []),
    "lines": lambda: lines({"a": []}, "x", "y"),
}


@pytest.mark.parametrize(
    "make",
    [
        lambda title: heat_map(["source_embedding"], ["weak"], [[1.0]], title, "lost"),
        lambda title: ranked_bars(["source_embedding"], [1.0], None, title),
    ],
    ids=["heat map", "bars"],
)
def test_a_title_above_long_labels_is_not_cut_off(make):
    figure = make("Largest pruning ratio that keeps val_accuracy")
    title = next(text for text in figure.texts if text.get_text() == figure.get_suptitle())
    box = title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_a_chart_without_values_has_a_text(make):
    figure = make()
    assert not figure.axes
    assert figure.texts[0].get_text().startswith("no")
    assert to_svg(figure)


def named(name):
    """Every chart with one thing of this name."""
    return {
        "bytes": lambda: bytes_by_class(rows((name, 8_000, 1_000))),
        "histograms": lambda: weight_histograms({name: histogram(1, 5, 2)}, {name: histogram(0, 8, 0)}),
        "frontier": lambda: frontier([(name, 2e6, 30.0)], 31.0),
        "heat map": lambda: heat_map([name], [name], [[1.0]], "title", "unit"),
        "bars": lambda: ranked_bars([name], [1.0]),
        "lines": lambda: lines({name: [(1, 2.0)]}, "x", "y"),
    }


@pytest.mark.parametrize("make", named(LONG).values(), ids=named(LONG))
def test_long_names_are_cut_and_stay_inside(make):
    figure = make()
    document = to_svg(figure)
    assert LONG not in document
    assert "a very lo" in document
    box = figure.get_tightbbox()
    assert box.x0 >= -0.05
    assert box.x1 <= figure.get_figwidth() + 0.05


@pytest.mark.parametrize("chart", named(HOSTILE))
def test_equal_figures_give_equal_bytes_and_names_are_neither_mathematics_nor_markup(chart):
    first, second = named(HOSTILE)[chart](), named(HOSTILE)[chart]()
    document, image = to_svg(first), to_png(first)
    assert document == to_svg(first) == to_svg(second)
    assert image == to_png(second)
    assert image.startswith(b"\x89PNG")
    assert "<script" not in document
    assert "$x_{$" in document
    document.encode()


def test_svg_has_text_and_neither_date_nor_program():
    document = to_svg(bytes_by_class(rows(("softmax", 8_000, 1_000))))
    assert "softmax</text>" in document
    assert "metadata" not in document
    assert "matplotlib" not in document.lower().replace("matplotlib.axis", "")


def test_settings_of_the_user_are_neither_used_nor_changed():
    import matplotlib

    expected = to_svg(named("a")["bars"]())
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "svg.fonttype": "path"}):
        settings = dict(matplotlib.rcParams)
        assert to_svg(named("a")["bars"]()) == expected
        assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize("make", named("a").values(), ids=named("a"))
def test_a_missing_matplotlib_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ChartError, match=r"pip install lightning-compress\[charts\]"):
        make()
    assert issubclass(ChartError, CompressionError)
