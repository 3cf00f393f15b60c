import pytest
from result_files import TABLES, write

from recipes.paper.results.class_order import in_model_order
from recipes.paper.results.model_results import Results
from recipes.paper.tables import markdown
from recipes.paper.tables.paper_tables import SECTIONS, tables


@pytest.fixture
def transformer(tmp_path):
    return Results.read(write(tmp_path / "transformer"), "Transformer")


@pytest.fixture
def rnn_4(tmp_path):
    fig5 = (TABLES["fig5"][0], "encoder.0,0.6,37,0,0,0,false,3000,5", "encoder.3,0.3,37,0,0,0,false,3000,5")
    folder = write(tmp_path / "rnn", "baseline", "fig5", "fig7", "table2", fig5=fig5)
    return Results.read(folder, "RNN 4")


def rows(text):
    """First cell → the others, of all tables in a text."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {first: rest for first, *rest in lines}


def section(name, *models):
    return "\n\n".join(SECTIONS[name](models))


def test_cells():
    assert [markdown.percent(share) for share in (0.15, 0.9925, 1.0, None)] == ["15 %", "99.25 %", "100 %", ""]
    assert [markdown.signed(change) for change in (0.125, -0.004, -3.0, None)] == ["+0.12", "+0.00", "-3.00", ""]
    assert (markdown.times(11.666), markdown.count(1234567), markdown.number(37.6)) == ("11.67×", "1,234,567", "37.60")
    assert markdown.times(None) == markdown.count(None) == markdown.number(None) == markdown.change(None) == ""


def test_an_interval_of_a_drop_is_turned_into_one_of_a_change(transformer):
    lost = transformer.pruning[2]
    assert markdown.change(lost) == "**-7.60**"
    assert markdown.interval(lost) == "**-7.60** [-8.20, -7.00]"


def test_table_1_beside_the_papers(transformer):
    text = section("Table 1 and figure 4: pruning", transformer)
    found = rows(text)
    assert found["pruned"] == [
        *("class-blind", "ratio", "paper"),
        *("class-uniform", "ratio", "paper"),
        *("class-distribution", "ratio"),
    ]
    assert found["15 %"] == ["-0.10", "1.33×", "-0.15", "**+0.40**", "1.33×", "+0.18", "**-0.50**", "1.33×"]
    assert found["40 %"] == ["**-7.60**", "2.00×", "-7.27", "", "", "-5.35", "", ""]
    assert found["50 %"][:4] == ["", "", "", "**-27.60**"]
    assert "37.60 BLEU; the paper's Transformer, 6 + 6 layers: 41.76 BLEU" in text
    assert (
        "class-blind 15 % (in the paper 15 %), class-uniform 15 % (in the paper 15 %), class-distribution none" in text
    )


def test_shares_that_only_the_paper_has_are_not_made_up(transformer):
    assert "45 %" not in section("Table 1 and figure 4: pruning", transformer)


def test_the_combination_beside_the_papers(transformer):
    found = rows(section("Tables 2 and 3: the combination", transformer))
    assert found["baseline"] == ["37.60", "", "4,000", "1.00×", "1.00×", "baseline", "+0.00", "1×"]
    assert found["prune 15 %"][1] == "+0.10 [-0.10, +0.30]"
    assert found["+ half precision"] == [
        *("37.10", "**-0.50** [-0.80, -0.20]", "690", "5.80×", "5.90×"),
        *("+ half precision", "-0.19", "5.8×"),
    ]


def test_a_deeper_rnn_stands_beside_table_3(rnn_4):
    assert rows(section("Tables 2 and 3: the combination", rnn_4))["+ half precision"][-2:] == ["-0.03", "12.7×"]


def test_classes_of_several_models_in_the_order_of_a_model(transformer, rnn_4):
    text = section("Figure 5: tolerance of each class alone", transformer, rnn_4)
    found = rows(text)
    assert list(found)[2:6] == ["encoder.0", "encoder.3", "decoder.0", "softmax"]
    assert found["encoder.0"] == ["50 %", "60 %"]
    assert found["encoder.3"] == ["", "30 %"]
    assert found["decoder.0"] == ["", ""]
    assert found["all together: change of BLEU"] == ["**-0.60** [-0.90, -0.30]", ""]
    assert found["all together: ratio on disk"] == ["1.25×", ""]
    assert found["all together: change in the paper"] == ["-0.11", ""]


def test_figure_6(transformer):
    found = rows(section("Figure 6: left, middle or right", transformer))
    assert found["bits"] == ["coverage", "left", "middle"]
    assert found["4"] == ["99.1 %", "**-37.10** [-38.00, -36.00]", "**-0.40** [-0.70, -0.10]"]


def test_figure_7_distinguishes_cells_without_a_result_from_cells_not_measured(transformer, rnn_4, tmp_path):
    tried = Results.read(
        write(tmp_path / "few", "baseline", "fig7", fig7=TABLES["fig7"][:1] + TABLES["fig7"][2:]), "few"
    )
    found = rows(section("Figure 7: the widest interval", transformer, tried))
    assert found["8"] == ["99.5 %", "+0.00 [-0.10, +0.10]"] * 2
    assert found["2"] == ["–", "", "", ""]


def test_figure_8(transformer):
    found = rows(section("Figure 8: the rate", transformer))
    assert found["4"] == ["90 %", "4.44×", "5.00×", "+12.5 %", "800"]
    assert found["2"] == [""] * 5


def test_only_what_was_measured_has_a_section(rnn_4):
    text = tables([rnn_4])
    titles = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("###")]
    assert titles == [name for name in SECTIONS if not name.startswith(("Table 1", "Figure 6", "Figure 8"))]


def test_all_sections_of_several_models(transformer, rnn_4):
    text = tables([transformer, rnn_4])
    assert [line.removeprefix("### ") for line in text.splitlines() if line.startswith("###")] == list(SECTIONS)
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert min(widths) >= 3
    assert text.count("`tok:none`") == 1


def test_order_of_classes():
    names = ["softmax", "own", "decoder.10", "decoder.2", "encoder.0", "target_embedding", "source_embedding", "own"]
    assert in_model_order(names) == [*names[6:4:-1], "encoder.0", "decoder.2", "decoder.10", "softmax", "own"]
