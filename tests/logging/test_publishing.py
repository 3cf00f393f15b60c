"""How often charts of compressed files are drawn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from fake_loggers import ImageLogger

import lightning_compress as lc
from lightning_compress.callbacks.export.publishing import Publishing

CHARTS = {"compression/bytes_by_class", "compression/histograms"}


class NamedScalars(ImageLogger):
    """Remembers each scalar as a call of its own."""

    def log_metrics(self, metrics, step=None):
        self.calls += [(name, value, step) for name, value in metrics.items()]


@pytest.fixture
def publish():
    """A function that publishes a file of a plan, and returns the keys that the logger received."""
    logger = NamedScalars()
    loop = SimpleNamespace(epoch_loop=SimpleNamespace())
    trainer = SimpleNamespace(loggers=[logger], is_global_zero=True, global_step=1, fit_loop=loop)
    weights = lc.Weights.from_state_dict({"encoder.weight": torch.randn(8, 8)})
    publishing = Publishing(artifacts=False, pictures=True)
    publishing.start(trainer, lc.compress(weights, "half").manifest.plan)

    def publish_file(plan):
        logger.calls.clear()
        publishing.new_file(trainer, lc.compress(weights, plan), weights, step=1, seconds=1.0, measure="")
        return {call[0] for call in logger.calls}

    return publish_file


def test_charts_are_drawn_for_the_first_file_and_not_again_at_once(publish):
    first, second = publish("half"), publish("half")
    assert first > CHARTS
    assert first - second == CHARTS
    assert "compression/bytes" in second


def test_charts_are_drawn_for_each_file_with_a_new_plan(publish):
    assert publish("half") > CHARTS
    assert publish("paper-rnn") > CHARTS
    assert not publish("paper-rnn") & CHARTS
