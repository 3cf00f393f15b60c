"""Which sink a logger gets: Lightning's dummies get none, and other packages can register theirs."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from fake_loggers import ImageLogger, MLflow, ScalarLogger, TableLogger, TensorBoard
from matplotlib.figure import Figure
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import DummyExperiment, DummyLogger
from short_training import ADVICE, Scored, batches

from lightning_compress import CompressCheckpoint
from lightning_compress.logging import (
    describe_runs,
    log_figure,
    log_scalars,
    log_table,
    register_sink,
    runs_of,
    sink_of,
)
from lightning_compress.logging.broadcast import shows_figures
from lightning_compress.logging.sinks import FolderSink, MLflowSink, ScalarSink, TableSink, TensorBoardSink, registry


class EveryAttribute:
    """Has a method of any name, as Lightning's dummies, and records its calls."""

    def __init__(self) -> None:
        self.called = []

    def __getattr__(self, name):
        return lambda *_, **__: self.called.append(name)


@pytest.mark.parametrize(
    ("logger", "sink"),
    [
        (TableLogger(), TableSink),
        (ImageLogger(), TableSink),
        (TensorBoard(), TensorBoardSink),
        (MLflow(), MLflowSink),
        (ScalarLogger(), ScalarSink),
    ],
)
def test_a_logger_is_known_by_its_methods(logger, sink):
    assert type(sink_of(logger)) is sink


def test_a_csv_logger_has_a_folder(tmp_path):
    assert type(sink_of(CSVLogger(tmp_path))) is FolderSink


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_a_dummy_logger_gets_nothing(package, monkeypatch, caplog):
    class Dummy(EveryAttribute):
        pass

    monkeypatch.setitem(sys.modules, f"{package}.loggers.logger", SimpleNamespace(DummyLogger=Dummy))
    logger = Dummy()
    log_scalars([logger], {"a": 1.0}, 7)
    log_table([logger], "t", ["a"], [[1]], 7)
    log_figure([logger], "f", Figure(), 7)
    describe_runs([logger], {})
    assert runs_of([logger]) == []
    assert not shows_figures(logger)
    assert sink_of(logger) is None
    assert logger.called == []
    assert not caplog.records


def test_lightnings_own_dummy_logger_has_no_sink():
    assert sink_of(DummyLogger()) is None


def test_the_dummy_experiment_of_other_ranks_is_no_run_and_no_writer():
    class OnRankOne(ScalarLogger):
        experiment = DummyExperiment()

    class WithTables(TableLogger):
        experiment = DummyExperiment()

    assert type(sink_of(OnRankOne())) is ScalarSink
    assert runs_of([WithTables()]) == []


@pytest.mark.filterwarnings(*ADVICE)
def test_a_fast_dev_run_logs_nothing_and_reports_nothing(tmp_path, caplog):
    trainer = pl.Trainer(
        fast_dev_run=True,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=CSVLogger(tmp_path),
        callbacks=[CompressCheckpoint("half", artifacts=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Scored(), batches(), batches())
    assert isinstance(trainer.logger, DummyLogger)
    assert not [record for record in caplog.records if record.name.startswith("lightning_compress")]


def test_another_package_can_register_a_sink(monkeypatch):
    class TextSink(ScalarSink):
        def table(self, key, columns, rows, step):
            self._logger.calls.append(f"{key}: {len(rows)} rows")

    class TextLogger(TableLogger):
        pass

    monkeypatch.setattr(registry, "_factories", list(registry._factories))
    register_sink(lambda logger: TextSink(logger) if isinstance(logger, TextLogger) else None)
    text, other = TextLogger(), TableLogger()
    log_table([text, other], "t", ["a"], [[1], [2]], 7)
    assert text.calls == ["t: 2 rows"]
    assert other.calls == [("t", ["a"], [[1], [2]], 7)]
