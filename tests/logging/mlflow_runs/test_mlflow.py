"""A run of MLflow in a local database, read back by MLflow's own client; skipped where MLflow is not installed."""

from __future__ import annotations

import json

import pytest
from pytorch_lightning.loggers import MLFlowLogger
from short_training import ADVICE, fit

from lightning_compress.logging import log_table

pytestmark = [
    *(pytest.mark.filterwarnings(advice) for advice in ADVICE),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


def test_a_run_holds_scalars_with_their_steps_and_tables_and_charts_as_artifacts(tmp_path, caplog):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install mlflow")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    logger = MLFlowLogger("tests", tracking_uri=address, artifact_location=(tmp_path / "artifacts").as_uri())
    fit(tmp_path, logger)
    log_table([logger], "compression/own", ["class", "bytes"], [["encoder", 5], ["decoder", None]], step=5)
    client = mlflow.MlflowClient(address)
    sizes = [file.stat().st_size for file in sorted((tmp_path / "run").glob("*.safetensors"))]
    logged = client.get_metric_history(logger.run_id, "compression/bytes")
    assert [(metric.step, metric.value) for metric in logged] == [(2 * k + 1, size) for k, size in enumerate(sizes)]
    names = set(client.get_run(logger.run_id).data.metrics)
    assert {"compression/encoder.0/bytes", "epoch"} <= names
    artifacts = tmp_path / "artifacts" / str(logger.run_id) / "artifacts" / "compression"
    table = json.loads((artifacts / "own" / "5.json").read_text())
    assert table == {"columns": ["class", "bytes"], "data": [["encoder", 5], ["decoder", None]]}
    assert (artifacts / "bytes_by_class" / "1.png").read_bytes().startswith(b"\x89PNG")
    assert "did not accept" not in caplog.text
