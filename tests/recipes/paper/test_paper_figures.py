from math import isnan

import pytest
from result_files import TABLES, write

from lightning_compress.charts.style import COLOURS
from recipes.paper.figures.curves import curves
from recipes.paper.figures.export import comparisons, figures, save
from recipes.paper.figures.model_comparison import COMPARISONS
from recipes.paper.figures.single_model import PICTURES
from recipes.paper.results.model_results import Results

pytestmark = pytest.mark.usefixtures("layout_while_drawing")


@pytest.fixture
def transformer(tmp_path):
    return Results.read(write(tmp_path / "transformer"), "Transformer")


@pytest.fixture
def rnn(tmp_path):
    fig5 = (TABLES["fig5"][0], "encoder.0,0.6,37,0,0,0,false,3000,5", "encoder.3,0.3,37,0,0,0,false,3000,5")
    return Results.read(write(tmp_path / "rnn", "baseline", "table1", "fig5", "fig7", fig5=fig5), "RNN 4")


@pytest.fixture
def nothing(tmp_path):
    return Results.read(write(tmp_path / "nothing", "baseline"))


def drawn(figure):
    """Name → points of the curves of a figure, the line of the exact weights among them."""
    return {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_figure_1_has_a_panel_for_each_pruning_with_all_weights_in_it(transformer):
    figure = PICTURES["fig1"](transformer)
    (panel,) = [axes for axes in figure.axes if axes.get_title("left")]
    before, after = panel.patches
    assert panel.get_title("left") == "class-blind"
    assert before.get_data().values.tolist() == [100, 800, 100]
    assert after.get_data().values.tolist() == [90, 820, 90]
    assert after.get_data().edges.tolist() == [-1.5, -0.5, 0.5, 1.5]


def test_figure_4_has_measured_points_alone(transformer):
    figure = PICTURES["fig4"](transformer)
    found = drawn(figure)
    assert found["class-blind"] == [[0, 37.6], [15, 37.5], [40, 30]]
    assert found["class-distribution"] == [[15, pytest.approx(37.1)]]
    assert {y for _, y in found["exact weights"]} == {37.6}
    assert legend(figure) == ["class-blind", "class-uniform", "class-distribution", "exact weights"]
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("pruned weights (%)", "BLEU")


def test_the_bootstrap_interval_is_a_band_about_its_curve(transformer):
    band = PICTURES["fig4"](transformer).axes[0].collections[0]
    ys = [y for x, y in band.get_paths()[0].vertices.tolist() if x == 40]
    assert (min(ys), max(ys)) == (pytest.approx(37.6 - 8.2), pytest.approx(37.6 - 7.0))


def test_figure_4_beside_the_paper_is_of_changes_and_has_its_ten_shares(transformer):
    figure = PICTURES["fig4-paper"](transformer)
    found = drawn(figure)
    assert found["class-blind"][-1] == [40, pytest.approx(-7.6)]
    assert len(found["class-blind, paper"]) == len(found["class-uniform, paper"]) == 10
    assert found["class-blind, paper"][3] == [15, -0.15]
    own, paper = (
        next(x for x in figure.axes[0].get_lines() if x.get_label() == f"class-blind{y}") for y in ("", ", paper")
    )
    assert (paper.get_color(), paper.get_marker()) == (own.get_color(), own.get_marker())
    assert (own.get_linestyle(), paper.get_linestyle()) == ("-", "--")


def test_a_ruined_model_does_not_hide_the_small_changes(transformer):
    axes = PICTURES["fig4-paper"](transformer).axes[0]
    assert axes.get_ylim()[0] == -6
    assert axes.get_ylim()[1] < 2
    assert axes.get_xlim()[1] < 45, "all curves have left the picture by then"
    assert axes.get_ylabel() == "change of BLEU, down to -6"


def test_curves_that_stay_above_the_floor_are_not_cut():
    axes = curves({"a": [(0, 1), (9, -2)]}, "x", "y", "", floor=-6).axes[0]
    assert axes.get_ylabel() == "y"
    assert axes.get_xlim()[1] > 9


def test_a_floor_above_all_points_leaves_them_in_sight():
    assert curves({"a": [(0, -9), (9, -8)]}, "x", "y", "", floor=-6).axes[0].get_ylim()[0] < -9


def test_figure_5_is_in_the_order_of_the_model(transformer):
    axes = PICTURES["fig5"](transformer).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["encoder.0", "decoder.0", "softmax"]
    assert [bar.get_width() for bar in axes.patches] == [50, 0, 20]
    assert [text.get_text() for text in axes.texts] == ["50", "–", "20"]


def test_figure_6_has_a_curve_for_each_value_that_is_read_back(transformer):
    figure = PICTURES["fig6"](transformer)
    assert drawn(figure)["left"] == [[4, pytest.approx(0.5)], [8, pytest.approx(37.5)]]
    assert legend(figure) == ["left", "middle", "exact weights"]
    assert all(tick == int(tick) for tick in figure.axes[0].get_xticks())


def test_figure_7_shows_the_bits_for_which_no_interval_was_found_as_a_gap(transformer):
    figure = PICTURES["fig7"](transformer)
    (first, *others) = drawn(figure)["Transformer"]
    assert first[0] == 2
    assert isnan(first[1])
    assert others == [[4, 90], [8, 99.5]]
    assert figure.axes[0].get_xlim()[0] < 2


def test_figure_8_has_the_file_and_the_formula(transformer):
    found = drawn(PICTURES["fig8"](transformer))
    assert found["file on disk"][1:] == [[4, 5], [8, 3.6]]
    assert found["the paper's equation 2"][1:] == [[4, 4.4444], [8, 3.9]]


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES)
def test_what_was_not_measured_has_no_picture(nothing, make):
    assert make(nothing) is None


def test_a_model_that_the_paper_has_no_pruning_of_has_no_such_picture(rnn):
    assert list(figures(rnn)) == ["fig4", "fig5", "fig7"]


def test_chosen_pictures_alone(transformer):
    assert list(figures(transformer, ["fig7", "fig6"])) == ["fig6", "fig7"]


def test_several_models_in_one_picture(transformer, rnn, nothing):
    found = comparisons([transformer, rnn, nothing])
    assert list(found) == list(COMPARISONS)
    assert list(drawn(found["fig4-class-uniform"])) == ["Transformer", "RNN 4", "exact weights"]
    assert list(drawn(found["fig7"])) == ["Transformer", "RNN 4"]
    assert list(drawn(found["fig8"])) == ["Transformer", "Transformer, equation 2"]
    assert found["fig7"].axes[0].get_lines()[1].get_color() == COLOURS[1]


def test_classes_of_several_models_have_dashes_for_missing_values(transformer, rnn):
    axes = COMPARISONS["fig5"]([transformer, rnn]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["encoder.0", "encoder.3", "decoder.0", "softmax"]
    assert [text.get_text() for text in axes.texts] == ["50", "60", "–", "30", "–", "–", "20", "–"]


def test_nothing_to_compare(nothing):
    assert comparisons([nothing, nothing]) == {}


def test_pictures_as_files_are_the_same_each_time(transformer, tmp_path):
    png, svg = save(PICTURES["fig6"](transformer), "fig6", tmp_path)
    first = png.read_bytes(), svg.read_bytes()
    save(PICTURES["fig6"](transformer), "fig6", tmp_path)
    assert (png.read_bytes(), svg.read_bytes()) == first
    assert first[0].startswith(b"\x89PNG")
    assert b"bits per index" in first[1]
