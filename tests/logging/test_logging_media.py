"""Tables and pictures: each logger gets what it can take, a broken one harms none."""

from __future__ import annotations

import csv
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import CSVLogger
from stand_ins import Broken, Panels, TensorBoard, mlflow

from lightning_compress.logging import log_figure, log_table

COLUMNS = ("class", "BLEU")
ROWS = [["a|b", 30.25], ["c", None]]


@pytest.fixture
def figure():
    """A picture of 100 × 50 pixels, red in its middle."""
    picture = Figure(figsize=(1, 0.5), dpi=100)
    picture.add_axes((0.25, 0.25, 0.5, 0.5), facecolor="red").set_axis_off()
    picture.patch.set_facecolor("red")
    return picture


def test_panels_get_a_table_and_an_image(figure):
    logger = Panels()
    log_table([logger], "t", COLUMNS, ROWS, 7)
    log_figure([logger], "f", figure, 8)
    table, (key, images, step) = logger.calls
    assert table == ("t", ["class", "BLEU"], ROWS, 7)
    assert (key, step) == ("f", 8)
    (pixels,) = images
    assert pixels.shape == (50, 100, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[25, 50] == [255, 0, 0]).all()


def test_a_logger_with_tables_alone_gets_no_picture(figure, caplog):
    logger = SimpleNamespace(log_table=lambda *_, **__: None)
    log_figure([logger], "f", figure, 8)
    assert not caplog.records


def test_tensorboard_gets_a_text_and_an_image(figure):
    logger = TensorBoard()
    log_table([logger], "t", COLUMNS, ROWS, 7)
    log_figure([logger], "f", figure, 8)
    text, (tag, pixels, step, layout) = logger.calls
    assert text == ("t", "| class | BLEU |\n| --- | --- |\n| a\\|b | 30.25 |\n| c |  |", 7)
    assert (tag, pixels.shape, step, layout) == ("f", (50, 100, 3), 8, "HWC")


def test_mlflow_gets_artifacts_of_its_run(figure):
    logger, calls = mlflow()
    log_table([logger], "a/t", COLUMNS, ROWS, 7)
    log_figure([logger], "a/f", figure, 8)
    assert calls == [
        ("run-1", {"class": ["a|b", "c"], "BLEU": [30.25, None]}, "a/t/7.json"),
        ("run-1", figure, "a/f/8.png"),
    ]


def test_a_csv_logger_gets_files_in_its_folder(figure, tmp_path):
    logger = CSVLogger(tmp_path)
    log_table([logger], "a/t", COLUMNS, ROWS, 7)
    log_figure([logger], "a/f", figure, 8)
    with (tmp_path / "lightning_logs/version_0/a/t/7.csv").open() as file:
        assert list(csv.reader(file)) == [["class", "BLEU"], ["a|b", "30.25"], ["c", ""]]
    with Image.open(tmp_path / "lightning_logs/version_0/a/f/8.png") as picture:
        assert picture.size == (100, 50)


def test_a_logger_of_scalars_gets_nothing(figure, caplog):
    log_table([SimpleNamespace(experiment=object())], "t", COLUMNS, ROWS, 7)
    log_figure([object()], "f", figure, 8)
    log_table([], "t", COLUMNS, ROWS, 7)
    assert not caplog.records


def test_a_logger_that_fails_is_named_and_the_others_are_served(figure, caplog):
    after = TensorBoard()
    log_table([Broken(), after], "t", COLUMNS, ROWS, 7)
    log_figure([Broken(), after], "f", figure, 8)
    assert len(after.calls) == 2
    messages = [record.getMessage() for record in caplog.records]
    assert ["the table t" in messages[0], "the picture f" in messages[1]] == [True, True]
    assert all("Broken" in message and "no network" in message for message in messages)


def test_random_numbers_are_as_before(caplog):
    def draw(*_, **__):
        random.random()
        torch.rand(1)

    random.seed(3)
    torch.manual_seed(3)
    before = random.getstate(), torch.get_rng_state()
    log_table([SimpleNamespace(log_table=draw)], "t", COLUMNS, ROWS, 7)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert not caplog.records
