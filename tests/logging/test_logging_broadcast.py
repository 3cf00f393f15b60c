"""Scalars, tables and figures: each logger gets what it can store, and a failing one does not affect the others."""

from __future__ import annotations

import csv
import random

import numpy as np
import pytest
import torch
from fake_loggers import Broken, BrokenExperiment, ImageLogger, MLflow, ScalarLogger, TableLogger, TensorBoard
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import CSVLogger

from lightning_compress.logging import log_figure, log_scalars, log_table
from lightning_compress.logging.broadcast import log_charts, shows_figures

COLUMNS = ("class", "BLEU")
ROWS = [["a|b", 30.25], ["c", None]]


@pytest.fixture
def figure():
    """A figure of 100 × 50 pixels, red in its middle."""
    made = Figure(figsize=(1, 0.5), dpi=100)
    made.add_axes((0.25, 0.25, 0.5, 0.5), facecolor="red").set_axis_off()
    made.patch.set_facecolor("red")
    return made


@pytest.mark.parametrize("logger", [ScalarLogger(), TableLogger(), ImageLogger(), TensorBoard(), MLflow()])
def test_every_logger_gets_scalars(logger):
    log_scalars([logger], {"a": 1.0, "b": 2.0}, 7)
    assert logger.calls == [({"a": 1.0, "b": 2.0}, 7)]


def test_a_logger_with_tables_and_images_gets_both(figure):
    logger = ImageLogger()
    log_table([logger], "t", COLUMNS, ROWS, 7)
    log_figure([logger], "f", figure, 8)
    table, (key, images, step) = logger.calls
    assert table == ("t", ["class", "BLEU"], ROWS, 7)
    assert (key, step) == ("f", 8)
    (pixels,) = images
    assert pixels.shape == (50, 100, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[25, 50] == [255, 0, 0]).all()


def test_a_logger_with_tables_only_gets_no_figure(figure, caplog):
    logger = TableLogger()
    log_figure([logger], "f", figure, 8)
    assert logger.calls == []
    assert not caplog.records


def test_tensorboard_gets_a_text_and_an_image(figure):
    logger = TensorBoard()
    log_table([logger], "t", COLUMNS, ROWS, 7)
    log_figure([logger], "f", figure, 8)
    text, (tag, pixels, step, layout) = logger.calls
    assert text == ("t", "| class | BLEU |\n| --- | --- |\n| a\\|b | 30.25 |\n| c |  |", 7)
    assert (tag, pixels.shape, step, layout) == ("f", (50, 100, 3), 8, "HWC")


def test_mlflow_gets_artifacts_of_its_run(figure):
    logger = MLflow()
    log_table([logger], "a/t", COLUMNS, ROWS, 7)
    log_figure([logger], "a/f", figure, 8)
    assert logger.calls == [
        ("run-1", {"class": ["a|b", "c"], "BLEU": [30.25, None]}, "a/t/7.json"),
        ("run-1", figure, "a/f/8.png"),
    ]


def test_a_csv_logger_gets_files_in_its_folder(figure, tmp_path):
    logger = CSVLogger(tmp_path)
    log_table([logger], "a/t", COLUMNS, ROWS, 7)
    log_figure([logger], "a/f", figure, 8)
    with (tmp_path / "lightning_logs/version_0/a/t/7.csv").open() as file:
        assert list(csv.reader(file)) == [["class", "BLEU"], ["a|b", "30.25"], ["c", ""]]
    with Image.open(tmp_path / "lightning_logs/version_0/a/f/8.png") as image:
        assert image.size == (100, 50)


def test_a_logger_of_scalars_gets_no_table_and_no_figure(figure, caplog):
    logger = ScalarLogger()
    log_table([logger], "t", COLUMNS, ROWS, 7)
    log_figure([logger], "f", figure, 8)
    log_table([], "t", COLUMNS, ROWS, 7)
    assert logger.calls == []
    assert not caplog.records


@pytest.mark.parametrize("broken", [Broken, BrokenExperiment])
def test_a_logger_that_fails_is_reported_and_the_others_are_served(broken, figure, caplog):
    after = TensorBoard()
    loggers = [broken(), after]
    log_table(loggers, "t", COLUMNS, ROWS, 7)
    log_scalars(loggers, {"a": 1.0, "b": 2.0}, 7)
    assert len(after.calls) == 2
    name = broken.__name__
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} did not accept the table t, training continues: ConnectionError('no network')",
        f"{name} did not accept a, b, training continues: ConnectionError('no network')",
    ]


def test_the_same_failure_of_a_logger_is_reported_once(caplog):
    first, second = Broken(), Broken()
    for step in range(3):
        log_table([first], "t", COLUMNS, ROWS, step)
    log_table([first], "other", COLUMNS, ROWS, 3)
    log_table([second], "t", COLUMNS, ROWS, 4)
    tables = [record.getMessage().partition("the table ")[2][:5] for record in caplog.records]
    assert tables == ["t, tr", "other", "t, tr"]


def test_a_figure_that_is_not_accepted_is_reported(figure, caplog):
    after = TensorBoard()
    log_figure([BrokenExperiment(), after], "f", figure, 8)
    assert len(after.calls) == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("BrokenExperiment did not accept the figure f, training continues")


def test_random_number_generators_keep_their_state(caplog):
    class Drawing(TableLogger):
        def log_table(self, *_, **__):
            random.random()
            torch.rand(1)

    random.seed(3)
    torch.manual_seed(3)
    before = random.getstate(), torch.get_rng_state()
    log_table([Drawing()], "t", COLUMNS, ROWS, 7)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert not caplog.records


@pytest.mark.parametrize(
    ("logger", "shown"),
    [
        (ImageLogger(), True),
        (TensorBoard(), True),
        (MLflow(), True),
        (TableLogger(), False),
        (CSVLogger("nowhere"), False),
        (BrokenExperiment(), False),
        (ScalarLogger(), False),
    ],
)
def test_which_loggers_display_figures(logger, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shows_figures(logger) is shown


def test_charts_are_drawn_once_for_the_loggers_that_display_figures(figure):
    first, second, scalars, drawn = ImageLogger(), TensorBoard(), ScalarLogger(), []

    def draw():
        drawn.append(figure)
        yield "f", figure

    log_charts([first, scalars, second], "the charts", draw, 8)
    assert [logger.calls[0][0] for logger in (first, second)] == ["f", "f"]
    log_charts([scalars], "the charts", draw, 8)
    assert (scalars.calls, len(drawn)) == ([], 1)


def test_a_chart_that_cannot_be_drawn_is_reported(figure, caplog):
    def draw():
        yield "f", figure
        raise ImportError("pip install matplotlib")

    logger = ImageLogger()
    log_charts([logger], "the charts", draw, 8)
    assert [call[0] for call in logger.calls] == ["f"]
    assert caplog.messages == ["the charts were not drawn, training continues: ImportError('pip install matplotlib')"]
