"""A run of Weights & Biases made offline, read back from the file that wandb wrote; and a disabled one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from offline_run import of_kind, records, values
from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from short_training import ADVICE, fit

from lightning_compress import Archive, Artifacts, Plan
from lightning_compress.logging import class_table

pytestmark = [pytest.mark.filterwarnings(advice) for advice in ADVICE]
SCALARS = {"bytes", "ratio", "bits_per_weight", "seconds", "score_before", "score_after", "drop", "bleu_drop"}
EXPECTED = {"expected_drop", "assured"}  # of a file that a search made


@pytest.fixture
def written(wandb_folder):
    """The records that wandb wrote during a training run with a searched plan and uploads."""
    import wandb

    logger = WandbLogger(project="tests", save_dir=str(wandb_folder), mode="offline")
    fit(wandb_folder, logger, plan="auto", search_at="first", effort="quick", artifacts=True)
    logger.experiment.finish()
    wandb.teardown()
    return records(wandb_folder)


def test_an_offline_run_holds_everything(written, wandb_folder):
    """One run for all checks, because starting wandb takes longer than they do."""
    files = [wandb_folder / f"run/epoch={epoch}.compressed.safetensors" for epoch in range(3)]
    _expect_configuration(written, files)
    _expect_scalars(written, files)
    _expect_table_and_pictures(written, files, wandb_folder)
    _expect_versions(written, files)


def _expect_configuration(written, files):
    first, *_, last = [
        found["compression"] for c in of_kind(written, "config") if "compression" in (found := values(c.update))
    ]
    assert first["plan"] == {"search": "auto"}
    assert last["plan"] == Archive.open(files[-1]).manifest.plan
    assert Plan.from_config(last["plan"]).rules
    assert {"python", "platform", "torch", "pytorch-lightning", "lightning-compress"} <= set(last["environment"])
    assert last["environment"]["torch"] == torch.__version__
    axes = {metric.glob_name: metric.step_metric for metric in of_kind(written, "metric")}
    assert axes["compression/*"] == axes["quality/*"] == "trainer/global_step"


def _expect_scalars(written, files):
    steps = [values(step.item) for step in of_kind(written, "history")]
    exports = [step for step in steps if "compression/bytes" in step]
    assert [step["compression/bytes"] for step in exports] == [file.stat().st_size for file in files]
    assert [step["trainer/global_step"] for step in exports] == [1, 3, 5]
    names = {name.removeprefix("compression/") for name in exports[0] if name.startswith("compression/")}
    assert names == SCALARS | EXPECTED
    assert [step["compression/score_before"] for step in exports] == [20.0, 30.0, 25.0]
    assert exports[0]["compression/bleu_drop"] == exports[0]["compression/drop"] == 0


def _expect_table_and_pictures(written, files, folder):
    tables = sorted(folder.rglob("media/table/compression/classes_*.table.json"))
    contents = [json.loads(table.read_text()) for table in tables]
    assert class_table(Archive.open(files[0]).report()) in [content["data"] for content in contents]
    for name in ("bytes_by_class", "frontier", "histograms"):
        pictures = sorted(folder.rglob(f"media/images/compression/{name}_*.png"))
        assert 1 <= len(pictures) <= 3  # the first always, the others if the share of the time allows
        with Image.open(pictures[0]) as picture:
            assert min(picture.size) > 100


def _expect_versions(written, files):
    versions = [artifact for artifact in of_kind(written, "artifact") if artifact.type == "model"]
    assert [sorted(version.aliases) for version in versions] == [
        ["best", "epoch-0", "latest"],
        ["best", "epoch-1", "latest"],
        ["epoch-2", "latest"],
    ]
    (run,) = of_kind(written, "run")
    for epoch, (version, file) in enumerate(zip(versions, files, strict=True)):
        assert version.name == f"compressed-{run.run_id}"
        assert version.run_id == run.run_id
        facts, archive = json.loads(version.metadata), Archive.open(file)
        assert (facts["bytes"], facts["epoch"], facts["run"]) == (archive.nbytes, epoch, run.run_id)
        assert facts["plan"] == archive.manifest.plan
        assert facts["score_after"] == facts["exact_metrics"]["val_bleu"] == (20.0, 30.0, 25.0)[epoch]
        assert "git_commit" in facts
        (content,) = version.manifest.contents
        assert content.path == "model.compressed.safetensors"
        assert Path(content.local_path).read_bytes() == file.read_bytes()


def test_a_disabled_run_changes_nothing_and_writes_nothing(wandb_folder, caplog):
    logger = WandbLogger(project="tests", save_dir=str(wandb_folder), mode="disabled")
    module = fit(wandb_folder, logger, artifacts=Artifacts(keep=1))
    assert not list(wandb_folder.rglob("*.wandb"))
    assert not [record for record in caplog.records if record.name.startswith("lightning_compress")]
    alone = fit(wandb_folder / "alone", artifacts=False)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, alone.state_dict()[name])
