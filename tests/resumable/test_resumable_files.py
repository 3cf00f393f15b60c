"""Checkpoints come back bit for bit: what they hold, what is shared in them, and as differences to earlier ones."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from each_case import naming
from torch import nn

from lightning_compress import Archive, Weights, compress
from lightning_compress.errors import FormatError, WeightsError
from lightning_compress.resumable import is_resumable, read_file, remove_file, set_aside, write_file
from lightning_compress.resumable.differences import advanced, difference, has_difference
from lightning_compress.resumable.opened_file import ResumableFile


def trained(steps=2, frozen=False):
    """A checkpoint as a training saves it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 8))
    module[0].weight.requires_grad_(not frozen)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(16, 64)).square().mean().backward()
        optimizer.step()
    return {
        "pytorch-lightning_version": "2.6.0",
        "epoch": 1,
        "loops": {"fit_loop": {"state_dict": {}, "done": (1, 2.5, None, True)}},
        "lr_schedulers": [{"last_lr": [float("inf")], "milestones": {3: "x", (1, 2): 4}}],
        "state_dict": module.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
    }


def expect_equal(first, second):
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert torch.equal(first.reshape(-1).view(torch.uint8), second.contiguous().reshape(-1).view(torch.uint8))
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for name in first:
            expect_equal(first[name], second[name])
        expect_equal(getattr(first, "_metadata", None), getattr(second, "_metadata", None))
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            expect_equal(one, other)
    else:
        assert first == second or first != first


def test_a_checkpoint_comes_back_bit_for_bit_in_fewer_bytes(tmp_path):
    checkpoint = trained()
    torch.save(checkpoint, tmp_path / "saved.ckpt")
    write_file(checkpoint, tmp_path / "small.ckpt")
    expect_equal(read_file(tmp_path / "small.ckpt"), checkpoint)
    assert is_resumable(tmp_path / "small.ckpt")
    assert not is_resumable(tmp_path / "saved.ckpt")
    assert (tmp_path / "small.ckpt").stat().st_size < 0.9 * (tmp_path / "saved.ckpt").stat().st_size


def test_values_of_every_kind_come_back(tmp_path):
    shared = torch.randn(5)
    values = {
        "types": [torch.tensor(x) for x in (True, 7, 2.5, 1 + 2j)],
        "narrow": [torch.randn(3).to(kind) for kind in (torch.bfloat16, torch.float64, torch.float8_e4m3fn)],
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "empty": torch.empty(0, 3),
        "strided": torch.randn(4, 6).T,
        "parameter": nn.Parameter(torch.randn(2), requires_grad=False),
        "ordered": OrderedDict([("b", 1), ("a", -(2**70))]),
        "nan": float("nan"),
        "bytes": b"\x00\xff",
        "dtype": torch.float16,
        "size": torch.Size([2, 3]),
        "set": {1, 2},
        "sparse": torch.eye(3).to_sparse(),
        "text": "ü\n\ud800",
        "first": shared,
        "second": {"shared": shared},
    }
    write_file(values, tmp_path / "a.ckpt")
    found = read_file(tmp_path / "a.ckpt", weights_only=True)
    for name, value in values.items():
        if name != "sparse":
            with naming(name):
                expect_equal(found[name], value)
    assert torch.equal(found["sparse"].to_dense(), values["sparse"].to_dense())
    assert found["first"] is found["second"]["shared"]


def test_objects_that_only_code_could_make_are_refused_as_torch_refuses_them(tmp_path):
    write_file({"path": Path("a")}, tmp_path / "a.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        read_file(tmp_path / "a.ckpt")
    assert read_file(tmp_path / "a.ckpt", weights_only=False) == {"path": Path("a")}


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int16, torch.int64]
)
def test_differences_lead_back_to_the_tensor_whatever_its_words_are(dtype):
    generator = torch.Generator().manual_seed(1)
    size = torch.empty(0, dtype=dtype).element_size()
    first, second = (
        torch.randint(0, 256, (size * 1000,), dtype=torch.uint8, generator=generator).view(dtype) for _ in range(2)
    )
    assert has_difference(second, first)
    found = advanced(first, difference(second, first))
    assert torch.equal(found.view(torch.uint8), second.view(torch.uint8))
    assert not difference(first, first).any()


def test_a_small_change_is_a_small_difference():
    before = torch.tensor([1.0, -1.0, 1e-30, 2.0 - 2**-23])
    after = torch.tensor([1.0 + 2**-23, -1.0 - 2**-23, 1e-30, 2.0])
    assert difference(after, before).tolist() == [2, 1, 0, 2]


def test_files_of_differences_take_fewer_bytes_and_need_their_parents(tmp_path):
    checkpoints = [trained(steps, frozen=True) for steps in (20, 21, 22)]
    files = []
    for number, checkpoint in enumerate(checkpoints):
        files.append(write_file(checkpoint, tmp_path / f"{number}.ckpt", files[-1] if files else None))
    for number, checkpoint in enumerate(checkpoints):
        expect_equal(read_file(tmp_path / f"{number}.ckpt"), checkpoint)
    sizes = [file.path.stat().st_size for file in files]
    assert max(sizes[1:]) < 0.9 * sizes[0]
    assert "state_dict.0.weight" in files[1].record["same"]  # frozen: stored once

    remove_file(tmp_path / "0.ckpt")
    remove_file(tmp_path / "1.ckpt")
    expect_equal(read_file(tmp_path / "2.ckpt"), checkpoints[2])
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["2.ckpt"]
    remove_file(tmp_path / "2.ckpt")
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_replaced_or_missing(tmp_path):
    first = write_file(trained(1), tmp_path / "last.ckpt")
    write_file(trained(2), tmp_path / "next.ckpt", first)
    set_aside(tmp_path / "last.ckpt")
    write_file(trained(3), tmp_path / "last.ckpt")
    expect_equal(read_file(tmp_path / "next.ckpt"), trained(2))
    for path in tmp_path.glob(".*.parent"):
        path.unlink()
    with pytest.raises(FormatError, match=r"differences to last\.ckpt.*move both together"):
        read_file(tmp_path / "next.ckpt")


def test_a_checkpoint_is_compressed_like_one_of_torch_save(tmp_path):
    checkpoint = trained()
    torch.save(checkpoint, tmp_path / "saved.ckpt")
    write_file(checkpoint, tmp_path / "small.ckpt")
    first, second = (compress(tmp_path / name, "half") for name in ("saved.ckpt", "small.ckpt"))
    assert first.manifest == second.manifest
    compress(tmp_path / "saved.ckpt", "half").save(tmp_path / "file.compressed.safetensors")
    with pytest.raises(WeightsError, match="is a compressed file already"):
        compress(tmp_path / "file.compressed.safetensors", "half")
    with pytest.raises(FormatError, match="no checkpoint that a training can resume from"):
        read_file(tmp_path / "file.compressed.safetensors")


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.ckpt"
    write_file(trained(), path)
    archive = Archive.open(path)
    record = archive.manifest.metrics["resumable"]
    for change, message in (
        ({"identity": 3}, "no checkpoint"),
        ({"parent": {"name": 1}}, "what changed"),
        ({"parent": {"name": 1}, "same": [], "changed": []}, "which file"),
        ({"parent": {"name": "b", "identity": "c"}, "same": [], "changed": []}, "not in its folder"),
    ):
        with naming(change):
            archive.with_metrics({"resumable": {**record, **change}}).save(path)
            with pytest.raises(FormatError, match=message):
                read_file(path)
    compress(Weights.of({"w": torch.ones(3)}), "half").with_metrics({"resumable": record}).save(path)
    with pytest.raises(FormatError, match="lacks the structure"):
        read_file(path)
    assert ResumableFile.open(path).parent is None
