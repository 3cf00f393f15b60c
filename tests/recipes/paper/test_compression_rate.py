"""The paper's reckoning against the rates it prints, and the combination that is taken by default."""

import pytest

from lightning_compress import Half, Interval, Plan, Prune, Rule
from lightning_compress.plan import PRESETS
from recipes.paper.experiments.combination import combination_of
from recipes.paper.experiments.compression_rate import combination, equation_2
from recipes.rnn import RnnTranslation
from recipes.transformer import TransformerTranslation

TABLES = [
    (0.40, 4, (1.6, 10.5, 11.7)),  # RNN, 2 layers
    (0.15, 6, (1.2, 5.6, 5.8)),  # Transformer
    (0.45, 4, (1.8, 11.3, 12.7)),  # RNN, 4 layers
    (0.35, 4, (1.5, 9.8, 10.9)),  # RNN, 8 layers
]


@pytest.mark.parametrize(("pruned", "bits", "rates"), TABLES)
def test_the_rates_of_tables_2_and_3(pruned, bits, rates):
    steps = (
        combination(pruned),
        combination(pruned, bits, 0.98),
        combination(pruned, bits, 0.98, half=True),
    )
    assert steps == pytest.approx(rates, abs=0.11)


def test_equation_2_by_hand():
    assert equation_2(8, 1.0) == 4.0
    assert equation_2(4, 0.5) == pytest.approx(32 / (0.5 * 4 + 0.5 * 36))
    assert equation_2(2, 0.5) < equation_2(4, 0.98) > equation_2(8, 0.999)


@pytest.fixture(params=["paper-transformer", "paper-rnn"])
def preset_and_module(request):
    kind, sizes = {
        "paper-transformer": (TransformerTranslation, {"encoder_layers": 1, "decoder_layers": 1, "heads": 2}),
        "paper-rnn": (RnnTranslation, {}),
    }[request.param]
    return PRESETS[request.param], kind(9, 9, width=8, **sizes)


def test_the_default_combination_is_the_papers_for_the_architecture(preset_and_module, settings):
    preset, module = preset_and_module
    steps = combination_of(module, settings()).steps()
    assert [step.plan is None for step in steps] == [True, False, False, False]
    assert steps[3].plan.rules[-1].methods == preset.rules[-1].methods
    assert steps[3].methods == ", ".join(map(repr, preset.rules[-1].methods))
    assert steps[0].formula == 1.0


def test_each_choice_changes_the_combination(preset_and_module, settings):
    chosen = settings(prune=0.45, scheme="class-uniform", index_bits=5, coverage=0.9)
    steps = combination_of(preset_and_module[1], chosen).steps()
    methods = (Prune(0.45, "class-uniform"), Interval(5, 0.9), Half())
    assert [step.plan for step in steps[1:]] == [Plan(Rule("*", *methods[:k])) for k in (1, 2, 3)]
    assert [step.name for step in steps] == ["baseline", "prune 45 %", "+ quantize 5 bits 90 %", "+ half precision"]
    assert steps[2].formula == combination(0.45, 5, 0.9)
