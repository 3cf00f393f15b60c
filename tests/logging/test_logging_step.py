"""The step at which Lightning logs, and the name that its logger for Weights & Biases gives to the step."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_loggers import TableLogger
from fake_wandb import FakeRun
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from lightning_compress.logging import configure_runs, describe_runs, logging_step, step_metric_of


def _rename_step(monkeypatch, name):
    """Make ``WandbLogger`` log the step under this name."""

    def log_metrics(self, metrics, step=None):
        self.experiment.log({**metrics, name: step})

    monkeypatch.setattr(WandbLogger, "log_metrics", log_metrics)


def test_without_lightnings_counter_the_step_is_the_global_step():
    trainer = SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=object()), global_step=11)
    assert logging_step(trainer) == 11


def test_the_step_metric_is_the_one_that_the_installed_lightning_logs():
    run = FakeRun()
    logger = WandbLogger(experiment=run, prefix="mine")
    assert step_metric_of(logger) in ("trainer/global_step", "global_step")
    assert run.logged == []
    logger.log_metrics({"a": 1.0}, step=3)
    assert run.logged == [{"mine-a": 1.0, step_metric_of(logger): 3}]


@pytest.mark.parametrize("name", ["trainer/global_step", "global_step"])
@pytest.mark.parametrize("configure", [configure_runs, describe_runs])
def test_metrics_are_plotted_against_the_step_metric_of_the_logger(name, configure, monkeypatch):
    _rename_step(monkeypatch, name)
    run = FakeRun()
    configure([WandbLogger(experiment=run)], {"quality": 1})
    assert run.axes == dict.fromkeys(("compression/*", "quality/*", "sensitivity/*", "training/*"), name)
    assert run.logged == []


def test_a_subclass_is_not_called_to_find_the_step_metric():
    class Counting(WandbLogger):
        calls = 0

        def log_metrics(self, metrics, step=None):
            Counting.calls += 1
            super().log_metrics(metrics, step)

    logger = Counting(experiment=FakeRun())
    assert step_metric_of(logger) == step_metric_of(WandbLogger(experiment=FakeRun()))
    assert Counting.calls == 0


def test_a_logger_that_sends_no_step_keeps_its_own_axes():
    run = FakeRun()
    logger = WandbLogger(experiment=run, sync_tensorboard=True)
    assert step_metric_of(logger) is None
    configure_runs([logger], {"quality": 1})
    assert run.axes == {}
    assert run.config == {"quality": 1}


def test_other_loggers_have_no_step_metric(tmp_path):
    assert step_metric_of(CSVLogger(tmp_path)) is None
    assert step_metric_of(TableLogger()) is None
