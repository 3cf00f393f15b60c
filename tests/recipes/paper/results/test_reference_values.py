"""The paper's numbers, checked against what was read from its pages a second time."""

import pytest

from recipes.paper.results.reference_values import BLIND, MODELS, SHARES, UNIFORM, paper_model
from recipes.sizes import REPORTED


def test_table_1():
    transformer, rnn = MODELS["transformer"], MODELS["rnn-2"]
    at_40, at_45 = SHARES.index(0.4), SHARES.index(0.45)
    assert transformer.pruning[BLIND][at_45] == 24.16
    assert transformer.pruning[UNIFORM][at_40] == 36.41
    assert rnn.pruning[BLIND][at_40] == 39.50
    assert rnn.pruning[UNIFORM][at_45] == 39.16
    for model in (transformer, rnn):
        assert all(row[0] == model.bleu and len(row) == len(SHARES) == 10 for row in model.pruning.values())


@pytest.mark.parametrize(
    ("key", "bleu", "label", "final"),
    [
        ("transformer", 41.76, "prune 15 %", (41.57, 62, 5.8)),
        ("rnn-2", 39.55, "prune 40 %", (39.43, 46, 11.7)),
        ("rnn-4", 40.37, "prune 45 %", (40.34, 51, 12.7)),
        ("rnn-8", 38.10, "prune 35 %", (37.96, 97, 10.9)),
    ],
)
def test_tables_2_and_3(key, bleu, label, final):
    model, last = MODELS[key], MODELS[key].combination[-1]
    assert model.bleu == bleu
    assert model.combination[1].label == label
    assert (last.bleu, last.megabytes, last.ratio) == final


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_each_printed_ratio_follows_from_the_printed_sizes(model):
    whole = model.combination[0].megabytes
    for step in model.combination:
        # Printed sizes are whole megabytes, and the paper cuts some ratios off where it rounds others.
        assert step.ratio == pytest.approx(whole / step.megabytes, abs=0.15)


def test_sizes_of_the_models_are_those_that_the_recipes_are_compared_with():
    assert [model.combination[0].megabytes for model in MODELS.values()] == [size for _, size, _ in REPORTED]


def test_tables_1_and_2_agree_on_pruning():
    assert MODELS["transformer"].combination[1].bleu == MODELS["transformer"].pruning[UNIFORM][SHARES.index(0.15)]
    assert MODELS["rnn-2"].combination[1].bleu == MODELS["rnn-2"].pruning[BLIND][SHARES.index(0.4)]


def test_changes_are_against_the_uncompressed_model():
    assert MODELS["transformer"].pruning_changes(BLIND)[0.45] == -17.6
    assert MODELS["rnn-4"].pruning_changes(BLIND) == {}
    assert (MODELS["transformer"].together_change, MODELS["rnn-2"].together_change) == (-0.11, -0.48)
    assert MODELS["rnn-8"].together_change is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Transformer", "transformer"),
        ("transformer-multi30k", "transformer"),
        ("RNN 2", "rnn-2"),
        ("rnn-multi30k", "rnn-2"),
        ("RNN4", "rnn-4"),
        ("rnn_8 on Multi30k", "rnn-8"),
        ("recipes.rnn.RnnTranslation", "rnn-2"),
    ],
)
def test_names_of_models(name, key):
    assert paper_model(name) is MODELS[key]


@pytest.mark.parametrize("name", ["RNN 6", "yardstick", ""])
def test_names_of_no_model_of_the_paper(name):
    assert paper_model(name) is None
