"""The figures of a compressed file, in loggers with and without tables, real and failing ones."""

from __future__ import annotations

import csv

import pytest
import pytorch_lightning as pl
import torch
from fake_loggers import ScalarLogger, TableLogger
from fake_wandb import FakeRun
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, compress
from lightning_compress.archive import Archive
from lightning_compress.logging import class_table, log_report, logging_step, report_scalars

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty.*"),
]
KEYS = {"compression/bytes", "compression/ratio", "compression/bits_per_weight", "compression/seconds"}


class Lit(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        return self.decoder(self.encoder(batch[0])).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.decoder(self.encoder(batch[0])).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def _fit(folder, *loggers, epochs=2, **options):
    data = DataLoader(TensorDataset(torch.ones(6, 4)), batch_size=2)
    run = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        logger=list(loggers),
        callbacks=[CompressCheckpoint("half"), _checkpoints(folder, **options)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    run.fit(Lit(), data, data)
    assert run.state.finished
    return run


def _checkpoints(folder, **options):
    return ModelCheckpoint(folder / "run", **{"save_last": True, "monitor": "val_loss", **options})


@pytest.fixture
def report():
    """Of a small archive with two classes."""
    state = {"encoder.0.weight": torch.linspace(-1, 1, 64).reshape(8, 8), "bias": torch.zeros(8)}
    return compress(state, "half").report()


def test_the_scalars_are_the_reports_own(report):
    values = report_scalars(report, 1.5)
    assert set(values) == KEYS
    assert values["compression/bytes"] == report.file_bytes
    assert values["compression/ratio"] == pytest.approx(report.raw_bytes / report.file_bytes)
    assert values["compression/bits_per_weight"] == pytest.approx(8 * report.file_bytes / 72)
    assert values["compression/seconds"] == 1.5
    assert all(type(value) is float for value in values.values())


def test_the_table_has_a_row_for_each_class(report):
    rows = class_table(report)
    assert [row[:3] for row in rows] == [["encoder.0", 64, 256], ["other", 8, 32]]
    assert [row[5] for row in rows] == [0.0, 1.0]


def test_a_logger_without_tables_gets_the_classes_as_scalars(report):
    logger = ScalarLogger()
    log_report([logger], report, seconds=1.0, step=7)
    ((values, step),) = logger.calls
    assert step == 7
    assert set(values) == KEYS | {
        f"compression/{name}/{figure}" for name in ("encoder.0", "other") for figure in ("bytes", "bits_per_weight")
    }


def test_a_logger_with_tables_gets_one(report):
    logger = TableLogger()
    log_report([logger], report, seconds=1.0, step=7)
    (values, step), (key, columns, data, table_step) = logger.calls
    assert set(values) == KEYS
    assert key == "compression/classes"
    assert columns == ["class", "weights", "raw bytes", "bytes", "bits per weight", "sparsity"]
    assert data == class_table(report)
    assert step == table_step == 7


def test_a_logger_that_fails_is_reported_and_the_others_are_served(report, caplog):
    class BrokenLogger:
        def log_metrics(self, metrics, step=None):
            raise ConnectionError("no network")

    after = ScalarLogger()
    log_report([BrokenLogger(), after], report, seconds=1.0, step=0)
    assert len(after.calls) == 1
    (record,) = caplog.records
    assert "BrokenLogger" in record.getMessage()
    assert "no network" in record.getMessage()


def test_no_logger_is_no_error(tmp_path, caplog):
    run = _fit(tmp_path)
    assert (tmp_path / "run" / "last.compressed.safetensors").exists()
    assert run.loggers == []
    assert not [record for record in caplog.records if record.name.startswith("lightning_compress")]


@pytest.mark.parametrize("at_epoch_end", [True, False])
def test_a_csv_log_holds_each_export_once_beside_its_validation(tmp_path, at_epoch_end):
    _fit(tmp_path, CSVLogger(tmp_path, flush_logs_every_n_steps=1), save_on_train_epoch_end=at_epoch_end)
    rows = _rows(tmp_path)
    exports = [row for row in rows if row.get("compression/bytes")]
    validations = [row for row in rows if row["val_loss"]]
    assert [row["step"] for row in exports] == [row["step"] for row in validations] == ["2", "5"]
    size = (tmp_path / "run" / "last.compressed.safetensors").stat().st_size
    assert float(exports[-1]["compression/bytes"]) == size
    assert float(exports[-1]["compression/seconds"]) > 0


def test_exports_by_steps_stand_at_the_step_of_their_batch(tmp_path):
    every = {"monitor": None, "every_n_train_steps": 2, "save_top_k": -1, "save_last": False}
    run = _fit(tmp_path, CSVLogger(tmp_path, flush_logs_every_n_steps=1), **every)
    # Steps count from 0, the checkpoints' names from 1.
    assert [row["step"] for row in _rows(tmp_path) if row.get("compression/bytes")] == ["1", "3", "5"]
    assert logging_step(run) == 5


def _rows(folder):
    with next(folder.rglob("metrics.csv")).open() as file:
        return list(csv.DictReader(file))


def test_a_training_survives_a_logger_that_fails(tmp_path, caplog):
    class Failing(CSVLogger):
        def log_metrics(self, metrics, step=None):
            if "compression/bytes" in metrics:
                raise ConnectionError("no network")
            super().log_metrics(metrics, step)

    _fit(tmp_path, Failing(tmp_path))
    assert sum("no network" in record.getMessage() for record in caplog.records) == 1  # two files, one notice
    assert (tmp_path / "run" / "last.compressed.safetensors").exists()


def test_weights_and_biases_gets_scalars_and_a_table(tmp_path):
    import wandb  # here, since importing it takes long

    fake = FakeRun()
    _fit(tmp_path, WandbLogger(experiment=fake, save_dir=str(tmp_path)))
    exports = [values for values in fake.logged if "compression/bytes" in values]
    tables = [values for values in fake.logged if "compression/classes" in values]
    assert [values["trainer/global_step"] for values in exports] == [2, 5]
    assert exports[-1]["compression/bytes"] == (tmp_path / "run" / "last.compressed.safetensors").stat().st_size
    table = tables[-1]["compression/classes"]
    assert isinstance(table, wandb.Table)
    assert table.columns == ["class", "weights", "raw bytes", "bytes", "bits per weight", "sparsity"]
    assert [row[0] for row in table.data] == ["encoder.0", "decoder.0"]
    report = Archive.open(tmp_path / "run" / "last.compressed.safetensors").report()
    assert table.data == class_table(report)
