"""A misspelled name is found before the first step, or at the first validation: not at the end of the training."""

from __future__ import annotations

import logging

import pytest

from lightning_compress import CompressCheckpoint, Half, LayerSensitivity, Plan, Rule, TranslationQuality
from lightning_compress.callbacks.early_checks import MetricNameCheck, try_before_training
from lightning_compress.callbacks.objective import Objective
from lightning_compress.errors import CompressionError
from tests.callbacks.small_trainings import Small, trainer
from tests.each_case import naming


class Trainer:
    """What the checks read of a trainer."""

    is_global_zero, world_size, callbacks = True, 1, ()

    def __init__(self, *logged):
        self.callback_metrics = dict.fromkeys(logged)


def misspelled_metrics():
    return (
        (CompressCheckpoint("auto", monitor="val_blue", mode="max"), "monitor is 'val_blue'"),
        (LayerSensitivity(measure="val_blue"), "measure is 'val_blue'"),
        (TranslationQuality(metric="val_blue"), "metric is 'val_blue'"),
    )


def test_a_metric_that_the_first_validation_does_not_log_is_named_once(caplog):
    for callback, message in misspelled_metrics():
        with naming(message), caplog.at_level(logging.WARNING):
            caplog.clear()
            for _ in range(2):
                callback.on_validation_end(Trainer("val_bleu", "val_loss"), Small())
            assert caplog.text.count(message) == 1
            assert "did you mean 'val_bleu'?" in caplog.text
            assert "it logged val_bleu, val_loss" in caplog.text


def test_a_metric_that_is_logged_or_not_named_gives_no_warning(caplog):
    for objective in (
        None,
        Objective(),
        Objective("val_loss"),
        Objective("loss"),
        Objective("val_blue", evaluate=lambda module: 1.0),
    ):
        with naming(objective):
            MetricNameCheck(objective).check(Trainer("val_loss"))
            assert not caplog.text
    MetricNameCheck(Objective("val_blue")).check(Trainer())  # a sanity check that logs nothing says nothing
    assert not caplog.text


def test_the_sanity_check_of_a_trainer_finds_it(tmp_path, caplog):
    callback = LayerSensitivity(measure="scrore", mode="max", when=9)
    with caplog.at_level(logging.WARNING):
        trainer(tmp_path, callback, num_sanity_val_steps=1, max_epochs=1).fit(Small())
    assert caplog.text.count("measure is 'scrore', which this validation did not log (did you mean 'score'?)") == 1


def test_a_pattern_that_matches_nothing_is_refused_before_the_first_step(tmp_path):
    for callback, message in (
        (LayerSensitivity(groups={"a": "net.0.wieght"}), r"did you mean 'net\.0\.weight'"),
        (LayerSensitivity(exclude=["misspelt*"]), "exclude: pattern"),
        (LayerSensitivity(classes={"a": "misspelt*"}), "class 'a': pattern"),
        (CompressCheckpoint("half", exclude=["misspelt*"]), "exclude: pattern"),
        (CompressCheckpoint(Plan(Rule("misspelt*", Half()))), r"rule 'misspelt\*' selects none"),
    ):
        with naming(message), pytest.raises(CompressionError, match=message):
            trainer(tmp_path, callback).fit(Small())


def test_a_plan_that_does_not_fit_is_logged_before_the_first_step(monkeypatch, caplog):
    monkeypatch.setattr(
        "lightning_compress.callbacks.translation.translation_quality.is_sharded", lambda trainer: False
    )
    monkeypatch.setattr("lightning_compress.callbacks.hooks.checkpoint_hooks.attach", lambda *_: None)
    callback = TranslationQuality(metric=lambda module: 1.0, plan=Plan(Rule("misspelt*", Half())))
    callback.on_fit_start(Trainer(), Small())
    assert "quality is not measured, the training goes on: rule 'misspelt*' selects none" in caplog.text


def test_what_the_model_cannot_do_yet_is_a_warning(caplog):
    def attempt(shapes):
        raise AttributeError("not set up")

    try_before_training(Small(), "the plan", attempt)
    assert "the plan could not be tried on the model before the training: AttributeError('not set up')" in caplog.text
