"""The sensitivity of layers: keys that every logger accepts, and a logger that fails."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from fake_loggers import ScalarLogger
from offline_run import of_kind, records, values
from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from short_training import ADVICE

from lightning_compress import Interval
from lightning_compress.logging import log_sensitivity, sensitivity_scalars
from lightning_compress.search import LayerSensitivities
from lightning_compress.search.sensitivity.layers import strengths_of

pytestmark = [pytest.mark.filterwarnings(advice) for advice in ADVICE]


class Logger:
    def __init__(self, *, fails=False):
        self.fails, self.metrics, self.tables, self.images = fails, [], [], []

    def log_metrics(self, metrics, step=None):
        if self.fails:
            raise ConnectionError("no network")
        self.metrics.append((metrics, step))

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.tables.append((key, columns, data, step))

    def log_image(self, key, images, step=None, **options):
        self.images.append((key, step))


@pytest.fixture
def result():
    return LayerSensitivities(
        measure="val_bleu",
        higher_is_better=True,
        baseline=40.0,
        strengths=strengths_of([0.125, Interval(2)]),
        groups=("encoder.0", "my layer (a)"),
        raw_bytes=(8, 16),
        scores=np.array([[39.9, 38.0], [math.nan, -math.inf]]),
        bytes=np.array([[5.0, 2.0], [10.0, 4.0]]),
        estimates={"normalized error": np.array([[0.1, 0.2], [0.1, 0.4]])},
        step=7,
    )


def test_scalars_are_the_finite_figures_under_keys_of_plain_letters(result):
    scalars = sensitivity_scalars(result, 0.2)
    assert scalars == {
        "sensitivity/baseline": 40.0,
        "sensitivity/encoder.0/prune_12.5": pytest.approx(0.1),
        "sensitivity/encoder.0/2_bits": pytest.approx(2.0),
        "sensitivity/largest_ratio/encoder.0": 0.125,
        "sensitivity/largest_ratio/my_layer_a": 0.0,
        "sensitivity/rank_correlation/normalized_error": pytest.approx(1.0),
    }
    assert all(re.fullmatch(r"[\w.\-/]+", key) for key in scalars)


def test_each_logger_gets_what_it_can_store_and_a_failing_one_does_no_harm(result, caplog):
    broken, good = Logger(fails=True), Logger()
    log_sensitivity([broken, good], result, 7, 0.2)
    assert good.metrics == [
        ({"sensitivity/baseline": 40.0, "sensitivity/rank_correlation/normalized_error": pytest.approx(1.0)}, 7)
    ]
    ((key, columns, data, step),) = good.tables
    assert (key, columns, step) == ("sensitivity/table", result.columns(), 7)
    assert len(data) == 4
    assert [key for key, _ in good.images] == ["sensitivity/heat_map", "sensitivity/ranking"]
    assert (
        "Logger did not accept the sensitivity of layers, training continues: ConnectionError('no network')"
        in caplog.text
    )


def test_an_offline_run_of_wandb_holds_it(result, wandb_folder):
    import wandb

    logger = WandbLogger(project="tests", save_dir=str(wandb_folder), mode="offline")
    log_sensitivity([logger], result, 7, 0.2, epoch=3)
    logger.experiment.finish()
    wandb.teardown()
    steps = [values(step.item) for step in of_kind(records(wandb_folder), "history")]
    (logged,) = [step for step in steps if "sensitivity/baseline" in step]
    assert logged["trainer/global_step"] == 7
    assert logged["epoch"] == 3
    assert {name for name in logged if name.startswith("sensitivity/")} == {
        "sensitivity/baseline", "sensitivity/rank_correlation/normalized_error",
    }  # fmt: skip
    (table,) = wandb_folder.rglob("media/table/sensitivity/table_*.table.json")
    content = json.loads(table.read_text())
    assert (content["columns"], content["data"]) == (result.columns(), result.rows())
    for name in ("heat_map", "ranking"):
        (picture,) = wandb_folder.rglob(f"media/images/sensitivity/{name}_*.png")
        with Image.open(picture) as image:
            assert min(image.size) > 100


def test_a_logger_without_tables_gets_every_figure(result):
    logger = ScalarLogger()
    log_sensitivity([logger], result, 7, 0.2, epoch=3)
    assert logger.calls == [({**sensitivity_scalars(result, 0.2), "epoch": 3.0}, 7)]


def test_no_logger_is_no_error(result, caplog):
    log_sensitivity([], result, 7, None)
    assert caplog.text == ""
