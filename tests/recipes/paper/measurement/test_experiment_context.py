"""Points are measured once, and what is measured is what a user's own translation of the read file gives."""

import logging

import pytest
import torch
from sacrebleu.metrics import BLEU

from lightning_compress import Interval, Plan, Prune, Rule, compress
from lightning_compress.archive import Archive
from recipes.paper.measurement.context import experiment_context
from recipes.paper.measurement.round_trip import LOSSLESS
from recipes.translate import load_translator

PLAN = Plan(Rule("*", Prune(0.4), Interval(3)))


def bleu(module, folder, beam):
    """BLEU of the validation text, line by line as a user gets it."""
    source, reference = ((folder / f"valid.{side}").read_text("utf-8").splitlines() for side in ("en", "de"))
    return BLEU(tokenize="none", force=True).corpus_score(module.translate(source, beam=beam), [reference]).score


@pytest.mark.parametrize("beam", [1, 2])
def test_bleu_and_bytes_are_those_of_the_file_that_compress_saves(settings, checkpoint, text, tmp_path, beam):
    with experiment_context(settings(beam=None if beam == 2 else beam)) as context:
        exact, measured = context.exact, context.measure(PLAN, "a point")
    module = load_translator(checkpoint)
    assert exact.score.value == pytest.approx(bleu(module, text, beam))
    path = tmp_path / "model.safetensors"
    compress(module, PLAN).save(path)
    assert measured.bytes == path.stat().st_size
    assert measured.raw_bytes == exact.bytes == sum(4 * weight.numel() for weight in module.parameters())
    assert measured.zeros == pytest.approx(Archive.open(path).report().sparsity)
    assert measured.score.value == pytest.approx(bleu(load_translator(path), text, beam))
    assert measured.score.value != pytest.approx(exact.score.value)
    assert len(measured.score.statistics) == 30


def test_the_module_is_as_it_was_between_points(context):
    before = {name: tensor.clone() for name, tensor in context.module.state_dict().items()}
    context.measure(PLAN, "a point")
    assert all(torch.equal(tensor, before[name]) for name, tensor in context.module.state_dict().items())


def test_an_interrupted_sweep_resumes(settings):
    plans = [LOSSLESS, PLAN, Plan(Rule("*", Interval(5)))]
    described = []

    def stop_at_the_third(what):
        described.append(what)
        if len(described) == 3:
            raise KeyboardInterrupt

    with experiment_context(settings(), on_point=stop_at_the_third) as context:
        for plan in plans[:2]:
            context.measure(plan, "a point")
        with pytest.raises(KeyboardInterrupt):
            context.measure(plans[2], "a point")
    with experiment_context(settings()) as context:
        found = [context.measure(plan, "a point").score.value for plan in plans]
        assert context.new == 1
    with experiment_context(settings()) as context:
        assert [context.measure(plan, "a point").score.value for plan in plans] == found
        assert context.new == 0


def test_a_damaged_point_is_measured_again(settings, caplog):
    with experiment_context(settings()) as context:
        value = context.exact.score.value
    (path,) = (settings().out / "points").iterdir()
    path.write_text(path.read_text("utf-8")[:100], "utf-8")
    with experiment_context(settings()) as context, caplog.at_level(logging.WARNING):
        assert context.exact.score.value == value
        assert context.new == 1
    assert f"{path.name} is damaged" in caplog.text
    with experiment_context(settings()) as context:
        assert context.exact.score.value == value
        assert context.new == 0


def test_other_conditions_are_other_points(settings):
    for number, changes in enumerate(({}, {"beam": 2}, {"limit": 10}, {"split": "test"}), 1):
        with experiment_context(settings(**changes)) as context:
            sentences = len(context.exact.score.statistics)
            assert sentences == changes.get("limit", 30)
        assert len(list((settings().out / "points").iterdir())) == number


def test_progress_is_reported(settings):
    described = []
    with experiment_context(settings(), on_point=described.append) as context:
        context.compare(context.measure(LOSSLESS, "all as it is"))
    assert described == ["all as it is", "the exact weights"]
