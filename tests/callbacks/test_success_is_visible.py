"""What a user sees and can ask for: a line about each file, the paths of files, and what will not happen."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, trainer

from lightning_compress.archive import Archive
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.callbacks.export.jobs import Export
from lightning_compress.callbacks.export.written_files import described


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("pytorch_lightning")]


def test_each_file_is_one_line_and_a_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    compress = CompressCheckpoint()
    assert (compress.files, compress.best_path, compress.last_path) == ((), "", "")
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", monitor="epoch", mode="min", save_top_k=2, save_last="link")
    run = trainer(tmp_path, compress, saving, max_epochs=2)
    with caplog.at_level(logging.INFO):
        run.fit(Small())
    lines = [line for line in _told(caplog) if "→" in line]
    assert [line.partition(" → ")[0] for line in lines] == [f"epoch={n}.compressed.safetensors" for n in (0, 1)]
    assert all("×, " in line and " bits per weight), " in line and line.endswith(" s") for line in lines)
    names = ["epoch=0", "epoch=1", "last"]
    assert sorted(compress.files) == [str(tmp_path / f"{name}.compressed.safetensors") for name in names]
    assert compress.best_path == str(tmp_path / "epoch=0.compressed.safetensors")
    assert compress.last_path == str(tmp_path / "last.compressed.safetensors")
    Path(compress.best_path).unlink()
    assert compress.best_path == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"fast_dev_run": True}, "fast_dev_run saves no checkpoints"),
        ({"enable_checkpointing": False}, "no callback that saves checkpoints"),
    ],
)
def test_what_will_not_happen_is_said(settings, told, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = trainer(tmp_path, CompressCheckpoint(), max_epochs=1, **settings)
    with caplog.at_level(logging.INFO):
        run.fit(Small())
    assert sum(told in line for line in _told(caplog)) == 1


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"drop": 0.04, "measure": "val_bleu", "mode": "max"}, "val_bleu −0.04"),
        ({"drop": -0.2, "measure": "val_bleu", "mode": "max"}, "val_bleu +0.2"),
        ({"drop": 0.04, "measure": "val_loss", "mode": "min"}, "val_loss +0.04"),
        ({"drop": 0.0, "measure": "val_loss", "mode": "min"}, "val_loss ±0"),
        ({"drop": 0.5}, "score −0.5"),
    ],
)
def test_a_line_has_the_change_of_the_metric(search: dict[str, object], told: str) -> None:
    archive = Archive.open(Path(__file__).parents[1] / "archive/golden/ties.4.safetensors")
    measured = archive.with_metrics({"search": search})
    line = described("run/epoch=7.compressed.safetensors", Export(measured, True, 1.84))
    assert line.startswith("epoch=7.compressed.safetensors → 2.")
    assert line.endswith(f" bits per weight), {told}, 1.8 s")
