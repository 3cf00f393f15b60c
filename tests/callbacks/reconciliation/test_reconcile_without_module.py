"""What the callback wrote with the module at hand, ``reconcile`` neither rewrites needlessly nor makes less exact."""

from __future__ import annotations

import os

import pytest
import torch
import torchmetrics
from torch import nn

from lightning_compress import compress, load
from lightning_compress.archive import Archive
from lightning_compress.callbacks import reconcile


class Model(nn.Module):
    """Buffers without a known name, a loss with parameters, and the state of a metric."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(9, 9)
        self.register_buffer("secret", torch.randn(9, 9))
        self.ramp = nn.Parameter(torch.linspace(0.01, 1, 9))
        self.loss = nn.Bilinear(2, 2, 1)
        self.metric = torchmetrics.MeanMetric()
        self.metric.persistent(True)


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints of one training, each with a file that was made of its module."""
    for epoch in range(2):
        torch.manual_seed(epoch)
        model = Model()
        torch.save({"state_dict": model.state_dict()}, tmp_path / f"epoch={epoch}.ckpt")
        compress(model, "half").save(tmp_path / f"epoch={epoch}.compressed.safetensors")
    return tmp_path


def make_older(file):
    """Let a compressed file be older than its checkpoint."""
    os.utime(file, (1, 1))


def test_a_file_of_the_module_is_current_although_it_leaves_out_metrics(folder):
    make_older(folder / "epoch=0.compressed.safetensors")
    assert set(Archive.open(folder / "epoch=0.compressed.safetensors").manifest.excluded) == {
        "metric.mean_value",
        "metric.weight",
    }
    assert not reconcile(folder, "half").created


@pytest.mark.parametrize("renewed", [True, False])
def test_a_file_made_anew_keeps_exactly_what_a_file_of_the_module_keeps(folder, renewed):
    state = torch.load(folder / "epoch=0.ckpt", weights_only=True)["state_dict"]
    if renewed:
        state["secret"] += 1
        torch.save({"state_dict": state}, folder / "epoch=0.ckpt")
        make_older(folder / "epoch=0.compressed.safetensors")
    else:
        (folder / "epoch=0.compressed.safetensors").unlink()
    assert reconcile(folder, "half").created == (str(folder / "epoch=0.compressed.safetensors"),)
    restored = load(folder / "epoch=0.compressed.safetensors")
    assert torch.equal(restored["secret"], state["secret"])
    assert not torch.equal(restored["ramp"], state["ramp"])
    assert restored.keys() == state.keys()


def test_a_damaged_file_beside_it_does_not_matter(folder):
    (folder / "epoch=0.compressed.safetensors").unlink()
    whole = (folder / "epoch=1.compressed.safetensors").read_bytes()
    (folder / "damaged.ckpt").write_bytes(b"")
    (folder / "damaged.compressed.safetensors").write_bytes(whole[: len(whole) // 2])
    assert str(folder / "epoch=0.compressed.safetensors") in reconcile(folder, "half").created
    assert torch.isfinite(load(folder / "epoch=0.compressed.safetensors")["secret"]).all()


def test_a_folder_without_files_of_the_module_is_filled_with_all_parameters(folder):
    for file in folder.glob("*.compressed.safetensors"):
        file.unlink()
    state = torch.load(folder / "epoch=0.ckpt", weights_only=True)["state_dict"]
    reconcile(folder, "half")
    restored = load(folder / "epoch=0.compressed.safetensors")
    assert restored.keys() == state.keys()
    assert torch.equal(restored["ramp"], state["ramp"])  # its values are those of a table
