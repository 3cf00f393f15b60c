"""Lightning writes, reads, links and deletes compressed checkpoints, and resumes from them bit for bit."""

from __future__ import annotations

import logging
import threading

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Ordered, trainer

from lightning_compress import Archive, CompressCheckpoint, CompressedCheckpointIO, load
from lightning_compress.errors import CallbackError
from lightning_compress.resumable import ResumableFile, is_resumable, write_file


def expect_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name])


def fit(folder, *callbacks, plugin=None, source=None, epochs=3, **options):
    module = Ordered(64)
    save = ModelCheckpoint(folder, filename="{epoch}", monitor="score", mode="max", **options)
    run = trainer(folder, *callbacks, save, max_epochs=epochs, plugins=[plugin] if plugin else None)
    run.fit(module, ckpt_path=source)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}, save


def test_a_run_that_resumes_is_the_run_that_was_not_interrupted(tmp_path):
    whole, _ = fit(tmp_path / "whole", save_top_k=-1)
    for number, (plugin, reader) in enumerate(
        ((CompressedCheckpointIO(), CompressedCheckpointIO()), (CompressedCheckpointIO(2), None))
    ):
        with naming(number):
            folder = tmp_path / str(number)
            fit(folder, plugin=plugin, epochs=2, save_top_k=-1)
            assert is_resumable(folder / "epoch=1.ckpt")
            assert plugin.ratio is not None
            resumed, _ = fit(folder, plugin=reader, source=folder / "epoch=1.ckpt", save_top_k=-1)
            expect_same(resumed, whole)


def test_deletions_links_and_companion_files_follow(tmp_path):
    plugin, compress = CompressedCheckpointIO(whole_every=10), CompressCheckpoint("half", on_error="raise")
    fit(tmp_path, compress, plugin=plugin, epochs=6, save_top_k=2, save_last="link")
    kept = sorted(path.name for path in tmp_path.glob("epoch=*.ckpt"))
    assert len(kept) == 2
    for name in kept:
        found = load(tmp_path / name.replace(".ckpt", ".compressed.safetensors"))
        exact = plugin.load_checkpoint(tmp_path / name)["state_dict"]
        assert all((found[key] - exact[key]).abs().max() < 1e-2 for key in exact)
    assert (tmp_path / "last.ckpt").is_symlink()
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".parent")]
    for name in kept:
        plugin.remove_checkpoint(tmp_path / name)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".parent")]


def test_a_search_at_the_end_reads_the_best_checkpoint(tmp_path):
    compress = CompressCheckpoint(
        "auto", evaluate=lambda module: -float(module.net[0].weight.square().mean()), max_drop="50%", effort="quick"
    )
    fit(tmp_path, compress, plugin=CompressedCheckpointIO(), epochs=2)
    assert "search" in Archive.open(compress.best_path).manifest.metrics


def test_what_cannot_be_compressed_is_written_by_torch(tmp_path, caplog, monkeypatch):
    path, plugin = tmp_path / "epoch=0.ckpt", CompressedCheckpointIO()
    torch.save({"old": 1}, path)
    plugin.save_checkpoint({"new": torch.ones(3)}, path)
    assert torch.equal(plugin.load_checkpoint(path)["new"], torch.ones(3))
    monkeypatch.setattr("lightning_compress.callbacks.checkpoint_io.write_file", _full_disk)
    with caplog.at_level(logging.WARNING):
        plugin.save_checkpoint({"newer": 2}, path)
    assert "written by torch.save" in caplog.text
    assert torch.load(path) == {"newer": 2}
    assert plugin.load_checkpoint(path) == {"newer": 2}
    plugin.remove_checkpoint(path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CallbackError, match="whole_every is 0"):
        CompressedCheckpointIO(0)


def _full_disk(*_):
    raise OSError("no space left on device")


def drifting(step):
    return {"state_dict": {"w": torch.arange(4096, dtype=torch.float32) + step}}


def test_a_file_that_torch_replaces_stays_for_those_that_refer_to_it(tmp_path):
    plugin = CompressedCheckpointIO(whole_every=10)
    for step, name in enumerate(("a", "last", "b")):
        plugin.save_checkpoint(drifting(step), tmp_path / f"{name}.ckpt")
    plugin.save_checkpoint({"state_dict": {"\udc80": torch.ones(3)}}, tmp_path / "last.ckpt")
    assert not is_resumable(tmp_path / "last.ckpt")
    expect_same(plugin.load_checkpoint(tmp_path / "b.ckpt")["state_dict"], drifting(2)["state_dict"])


def test_the_old_file_stays_where_no_new_one_can_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "no space left on device")

    plugin = CompressedCheckpointIO()
    plugin.save_checkpoint(drifting(0), tmp_path / "last.ckpt")
    monkeypatch.setattr("lightning_compress.callbacks.checkpoint_io.write_file", full)
    monkeypatch.setattr("lightning_fabric.plugins.io.torch_io._atomic_save", full)
    with pytest.raises(OSError, match="no space"):
        plugin.save_checkpoint(drifting(1), tmp_path / "last.ckpt")
    expect_same(plugin.load_checkpoint(tmp_path / "last.ckpt")["state_dict"], drifting(0)["state_dict"])
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_name_that_is_used_again_leaves_no_old_files(tmp_path):
    plugin = CompressedCheckpointIO(whole_every=3)
    for step in range(7):
        plugin.save_checkpoint(drifting(step), tmp_path / "model.ckpt")
        expect_same(plugin.load_checkpoint(tmp_path / "model.ckpt")["state_dict"], drifting(step)["state_dict"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_a_checkpoint_is_not_deleted_while_another_thread_writes_what_refers_to_it(tmp_path, monkeypatch):
    plugin, begun, held = CompressedCheckpointIO(whole_every=10), threading.Event(), threading.Event()

    def slowly(checkpoint, path, parent=None):
        begun.set()
        held.wait(1)
        return write_file(checkpoint, path, parent)

    plugin.save_checkpoint(drifting(0), tmp_path / "a.ckpt")
    monkeypatch.setattr("lightning_compress.callbacks.checkpoint_io.write_file", slowly)
    thread = threading.Thread(target=plugin.save_checkpoint, args=(drifting(1), tmp_path / "b.ckpt"))
    thread.start()
    begun.wait()
    plugin.remove_checkpoint(tmp_path / "a.ckpt")
    thread.join()
    expect_same(plugin.load_checkpoint(tmp_path / "b.ckpt")["state_dict"], drifting(1)["state_dict"])


def test_files_that_vanish_while_a_folder_is_searched_are_no_error(tmp_path, monkeypatch):
    plugin = CompressedCheckpointIO()
    plugin.save_checkpoint(drifting(0), tmp_path / "a.ckpt")
    (tmp_path / "gone.partial").touch()
    opened = ResumableFile.find

    def find(path):
        if path.name == "gone.partial":
            raise FileNotFoundError(2, "no such file", str(path))
        return opened(path)

    monkeypatch.setattr(ResumableFile, "find", find)
    plugin.remove_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "a.ckpt").exists()


@pytest.mark.parametrize("view", [torch.conj, torch._neg_view, lambda x: x.conj().imag])
def test_views_that_negate_are_told_from_what_they_view(tmp_path, view):
    values = torch.randn(5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    plugin, given = CompressedCheckpointIO(), {"one": values, "imaginary": values.imag, "two": view(values)}
    plugin.save_checkpoint({"state_dict": given}, tmp_path / "a.ckpt")
    assert is_resumable(tmp_path / "a.ckpt")
    expect_same(plugin.load_checkpoint(tmp_path / "a.ckpt")["state_dict"], given)
