"""The file that a command writes: given as an argument or an option, or named after the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from each_case import naming

from lightning_compress import load
from lightning_compress.cli.options import output_path


def test_without_a_name_the_file_stands_beside_the_checkpoint(tmp_path: Path) -> None:
    cases = {
        "m.ckpt": "m",
        "m.safetensors": "m",
        "m.pt": "m",
        "pytorch_model.bin": "pytorch_model",
        "model.safetensors.index.json": "model",
        "epoch=3-step=4.5": "epoch=3-step=4.5",
        "m.ckpt.pt": "m.ckpt",
    }
    for source, stem in cases.items():
        with naming(source):
            assert output_path(tmp_path / source, None) == tmp_path / f"{stem}.compressed.safetensors"
    assert output_path(tmp_path / "m.ckpt", tmp_path / "other") == tmp_path / "other"
    (tmp_path / "shards").mkdir()
    assert output_path(tmp_path / "shards" / "..", None) == tmp_path.with_name(
        f"{tmp_path.name}.compressed.safetensors"
    )
    with pytest.raises(FileNotFoundError, match="does not exist: create it"):
        output_path(tmp_path / "m.ckpt", tmp_path / "nowhere" / "m")


def test_compress_takes_the_name_in_each_of_three_ways(tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(3, 3)}, "m.ckpt")
    for arguments, written in (([], "m.compressed.safetensors"), (["a.x"], "a.x"), (["-o", "b.x"], "b.x")):
        with naming(arguments):
            assert run("compress", "m.ckpt", *arguments)[0] == 0
            assert load(written).keys() == {"weight"}
    status, _, err = run("compress", "m.ckpt", "a.x", "-o", "b.x")
    assert status == 1
    assert "two files to write are given" in err
