"""A ``dirpath`` that is a URL: the file follows its checkpoint there as well."""

from __future__ import annotations

import fsspec
import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, trainer

from lightning_compress import load, load_from_checkpoint
from lightning_compress.archive import is_archive
from lightning_compress.callbacks import CompressCheckpoint, reconcile


@pytest.fixture
def bucket():
    """An empty folder in memory, and its URL."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://bucket/run"
    system.store.clear()


def _listed(url):
    system, inner = fsspec.core.url_to_fs(url)
    return {name.rpartition("/")[2] for name in system.ls(inner, detail=False)}


def _scored(url, **options):
    return ModelCheckpoint(url, monitor="score", filename="{epoch}", **options)


def test_every_remote_checkpoint_has_its_file(bucket, tmp_path):
    compress = CompressCheckpoint("half", on_error="raise")
    trainer(tmp_path, compress, _scored(bucket, save_last=True, save_top_k=2), max_epochs=4).fit(Small())
    stems = {"epoch=1", "epoch=3", "last"}
    assert _listed(bucket) == {f"{stem}{suffix}" for stem in stems for suffix in (".ckpt", ".compressed.safetensors")}
    assert all(is_archive(f"{bucket}/{stem}.compressed.safetensors") for stem in stems)
    assert set(load(f"{bucket}/last.compressed.safetensors")) == set(Small().state_dict())
    assert load_from_checkpoint(Small, f"{bucket}/last.compressed.safetensors").hparams.width == 8


@pytest.mark.parametrize(("when", "expected"), [("best", {"epoch=1"}), ("last", {"epoch=2"})])
def test_the_policies_hold_there_too(bucket, tmp_path, when, expected):
    trainer(tmp_path, CompressCheckpoint("half", when=when), _scored(bucket, save_top_k=-1)).fit(Small())
    assert {name for name in _listed(bucket) if name.endswith(".compressed.safetensors")} == {
        f"{stem}.compressed.safetensors" for stem in expected
    }


def test_a_remote_file_is_tested(bucket, tmp_path):
    run = trainer(tmp_path, CompressCheckpoint("half"), _scored(bucket), max_epochs=1)
    run.fit(Small())
    (result,) = run.test(Small(), ckpt_path=f"{bucket}/epoch=0.compressed.safetensors", verbose=False)
    assert result["test_loss"] > 0


def test_a_foreign_remote_file_is_left_alone(bucket, tmp_path, caplog):
    with fsspec.open(f"{bucket}/epoch=0.compressed.safetensors", "wb") as file:
        file.write(b"somebody else's")
    trainer(tmp_path, CompressCheckpoint("half"), _scored(bucket), max_epochs=2).fit(Small())
    assert _listed(bucket) == {"epoch=0.compressed.safetensors", "epoch=1.ckpt", "epoch=1.compressed.safetensors"}
    with fsspec.open(f"{bucket}/epoch=0.compressed.safetensors", "rb") as file:
        assert file.read() == b"somebody else's"
    (record,) = [record for record in caplog.records if record.name.startswith("lightning_compress")]
    assert f"{bucket}/epoch=0.compressed.safetensors" in record.getMessage()


def test_a_failing_store_is_logged_and_nothing_partial_stays(bucket, tmp_path, caplog, monkeypatch):
    def verify(*_, **__):
        raise OSError("connection lost")

    monkeypatch.setattr("lightning_compress.archive.Archive.verify", verify)
    trainer(tmp_path, CompressCheckpoint("half"), _scored(bucket), max_epochs=1).fit(Small())
    assert _listed(bucket) == {"epoch=0.ckpt"}
    assert any("connection lost" in record.getMessage() for record in caplog.records)


def test_a_remote_folder_is_put_in_order(bucket, tmp_path):
    trainer(tmp_path, CompressCheckpoint("half"), _scored(bucket, save_top_k=-1), max_epochs=2).fit(Small())
    system, inner = fsspec.core.url_to_fs(bucket)
    system.rm_file(f"{inner}/epoch=0.compressed.safetensors")
    system.rm_file(f"{inner}/epoch=1.ckpt")
    done = reconcile(bucket, "half")
    assert done.created == (f"{bucket}/epoch=0.compressed.safetensors",)
    assert done.deleted == (f"{bucket}/epoch=1.compressed.safetensors",)
    assert done.failed == {}
    assert _listed(bucket) == {"epoch=0.ckpt", "epoch=0.compressed.safetensors"}
