import pytest
from result_files import BASELINE, TABLES, write

from recipes.errors import ResultsError
from recipes.paper.results.model_results import Results, parse
from recipes.paper.results.reference_values import MODELS
from recipes.paper.results.rows import Covered, Pruned, read


def test_cells_have_the_types_of_their_columns(tmp_path):
    point = read(write(tmp_path) / "table1.csv", Pruned)[2]
    assert (point.scheme, point.share, point.bleu, point.drop, point.low, point.high) == (
        *("class-blind", 0.4),
        *(30.0, 7.6, 7.0, 8.2),
    )
    assert point.significant is True
    assert (point.bytes, point.ratio, point.zeros, point.change) == (2000, 2.0, 0.4, -7.6)


def test_an_empty_cell_is_nothing_and_not_a_zero(tmp_path):
    nothing = read(write(tmp_path) / "fig7.csv", Covered)[0]
    assert (nothing.bits, nothing.coverage, nothing.bleu, nothing.significant, nothing.change) == (2, *[None] * 4)


def test_a_file_that_is_not_there_has_no_rows(tmp_path):
    assert read(tmp_path / "fig7.csv", Covered) == ()


def test_columns_that_are_not_known_are_passed_over(tmp_path):
    header, *lines = TABLES["fig7"]
    write(tmp_path, "fig7", fig7=[f"seconds,{header}", *(f"3,{line}" for line in lines)])
    assert [row.bits for row in read(tmp_path / "fig7.csv", Covered)] == [2, 4, 8]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("bits,coverage,bleu", "4,0.9,30"), r"no column drop, low, high, significant, points"),
        ((), r"no column bleu, .*, bits, coverage, points; its header is ''"),
        (
            (TABLES["fig7"][0], "four,0.9,37,0,0,0,false,6"),
            r"line 2: column bits holds 'four', expected a whole number",
        ),
        ((TABLES["fig7"][0], "4,nan,37,0,0,0,false,6"), r"coverage holds 'nan', expected a finite number"),
        ((TABLES["fig7"][0], "4,0.9,37,0,0,0,maybe,6"), r"significant holds 'maybe', expected true or false"),
        ((TABLES["fig7"][0], ",0.9,37,0,0,0,true,6"), r"bits holds '', expected a whole number"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(tmp_path, lines, told):
    write(tmp_path, "fig7", fig7=lines)
    with pytest.raises(ResultsError, match=rf"fig7\.csv.*{told}"):
        read(tmp_path / "fig7.csv", Covered)


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "fig7.csv").write_bytes(b"bits\xff\n")
    with pytest.raises(ResultsError, match="cannot be read"):
        read(tmp_path / "fig7.csv", Covered)


def test_results_of_a_folder(tmp_path):
    results = Results.read(write(tmp_path / "mine"))
    assert results.name == "mine"
    assert [row.class_name for row in results.tolerances] == ["softmax", "encoder.0", "decoder.0"]
    assert results.together.share == 0.31
    assert (len(results.pruning), len(results.histogram), len(results.restores)) == (7, 6, 4)
    assert (len(results.coverages), len(results.rates), len(results.combination)) == (3, 3, 3)


def test_an_experiment_that_was_not_run_has_no_rows(tmp_path):
    results = Results.read(write(tmp_path, "baseline"))
    assert results.pruning == results.tolerances == results.combination == ()
    assert results.together is None


@pytest.mark.parametrize("lines", [(TABLES["baseline"][0],), (*TABLES["baseline"], BASELINE)])
def test_the_exact_weights_are_needed_once(tmp_path, lines):
    write(tmp_path, "baseline", baseline=lines)
    with pytest.raises(ResultsError, match=r"baseline\.csv should hold the one row .* --out"):
        Results.read(tmp_path)


def test_a_folder_without_results_is_an_error(tmp_path):
    with pytest.raises(ResultsError, match="holds 0"):
        parse(f"RNN={tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("name", "class_path", "key"),
    [
        ("Transformer", "recipes.rnn.RnnTranslation", "transformer"),
        ("mine", "recipes.transformer.TransformerTranslation", "transformer"),
        ("mine", "recipes.rnn.RnnTranslation", "rnn-2"),
        ("RNN 4", "recipes.rnn.RnnTranslation", "rnn-4"),
    ],
)
def test_the_papers_model_is_known_by_the_name_or_else_by_the_module(tmp_path, name, class_path, key):
    write(
        tmp_path,
        "baseline",
        baseline=(TABLES["baseline"][0], BASELINE.replace("recipes.transformer.TransformerTranslation", class_path)),
    )
    assert parse(f"{name}={tmp_path}").paper is MODELS[key]


def test_an_rnn_of_layers_that_the_paper_has_not_stands_alone(tmp_path):
    write(tmp_path, "baseline")
    assert parse(f"RNN 6={tmp_path}").paper is None
