"""Files that are not checkpoints get one sentence; safetensors files and shards are read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import tarfile
import warnings
import zipfile

import fsspec
import numpy as np
import pytest
import safetensors.torch
import torch
import zstandard
from each_case import naming
from torch import nn

from lightning_compress import compress
from lightning_compress.errors import WeightsError
from lightning_compress.weights import Weights

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(3, dtype=torch.bfloat16)}


def expect(path, state=STATE):
    weights = Weights.from_checkpoint(path).state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())


def script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(path)


def own_file(path):
    compress(STATE, "half").save(path)


def tar(path):
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, arcname="m.py")


def zipped(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


FOREIGN = {
    "TorchScript": (script, r"is a TorchScript archive: save torch\.jit\.load\(path\)\.state_dict\(\)"),
    "npz": (lambda path: np.savez(path.open("wb"), a=np.ones(2)), r"is a NumPy archive \(\.npz\): read its arrays"),
    "npy": (lambda path: np.save(path.open("wb"), np.ones(2)), "is one NumPy array"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": np.ones(2)})), "is a pickle that torch.save did not"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), r"is compressed with gzip: .*\(gunzip\)"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(b"x")), "is compressed with bzip2"),
    "xz": (lambda path: path.write_bytes(lzma.compress(b"x")), "is compressed with xz"),
    "zstd": (lambda path: path.write_bytes(zstandard.compress(b"x")), "is compressed with Zstandard"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "is an HDF5 file, such as Keras writes"),
    "Keras": (lambda path: zipped(path, ["config.json", "model.weights.h5"]), "is a Keras model"),
    "exported": (lambda path: zipped(path, ["m/archive_format", "m/data/x"]), "is an exported program of torch.export"),
    "ONNX": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(99)), "is an ONNX model"),
    "GGUF": (lambda path: path.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(99)), "is a GGUF file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "HTML": (lambda path: path.write_text("\n <!DOCTYPE html>\n<html>404"), "is a web page or XML text"),
    "XML": (lambda path: path.write_text("<?xml version='1.0'?><Error>AccessDenied</Error>"), "is a web page or XML"),
    "LFS": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid"), "run git lfs pull"),
    "tar": (tar, "is a tar archive"),
    "zip": (lambda path: zipped(path, ["a.txt"]), "a zip archive without data.pkl"),
    "text": (lambda path: path.write_text("Not Found"), "damaged, or of another kind"),
    "JSON": (lambda path: path.write_text('{"error": 1}'), "damaged, or of another kind"),
    "own file": (own_file, "is a compressed file already"),
}  # fmt: skip


def test_other_files_get_one_sentence(tmp_path, recwarn):
    for case, (write, message) in FOREIGN.items():
        path = tmp_path / f"{case}.ckpt"
        with naming(case):
            write(path)
            recwarn.clear()
            with pytest.raises(WeightsError, match=message) as caught:
                Weights.from_checkpoint(path)
            assert str(caught.value).startswith(str(path))
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 350
            assert [str(warning.message) for warning in recwarn] == []


def test_the_command_line_prints_one_line(tmp_path, run):
    script(tmp_path / "m.pt")
    status, out, err = run("compress", tmp_path / "m.pt", tmp_path / "o.safetensors")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: {tmp_path / 'm.pt'} is a TorchScript archive")


def test_a_safetensors_file(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "model.safetensors", metadata={"format": "pt"})
    expect(tmp_path / "model.safetensors")
    expect(tmp_path)  # the folder
    (tmp_path / "model.safetensors").rename(tmp_path / "m.bin")
    expect(tmp_path / "m.bin")  # the content counts, not the name
    with fsspec.open("memory://other/m.safetensors", "wb") as file:
        file.write((tmp_path / "m.bin").read_bytes())
    expect("memory://other/m.safetensors")
    with pytest.raises(WeightsError, match=r"is one state dict and has no keys; leave out the key 'ema'"):
        Weights.from_checkpoint(tmp_path / "m.bin", key="ema")


def test_damaged_safetensors_files(tmp_path):
    whole = safetensors.torch.save(STATE)
    path = tmp_path / "m.safetensors"
    for size in (9, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with naming(size), pytest.raises(WeightsError, match="is a damaged safetensors file"):
            Weights.from_checkpoint(path)
    path.write_bytes(whole[:8] + b"{" * 50)
    with pytest.raises(WeightsError, match="is a damaged safetensors file"):
        Weights.from_checkpoint(path)


def sharded(folder, suffix, save):
    first, second = f"model-00001-of-00002.{suffix}", f"model-00002-of-00002.{suffix}"
    save({"a.weight": STATE["a.weight"]}, folder / first)
    save({"b.weight": STATE["b.weight"]}, folder / second)
    index = folder / f"model.{suffix}.index.json"
    weight_map = {"a.weight": first, "b.weight": second}
    index.write_text(json.dumps({"metadata": {"total_size": 30}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize(("suffix", "save"), [("safetensors", safetensors.torch.save_file), ("bin", torch.save)])
def test_sharded_models(tmp_path, suffix, save, run):
    index = sharded(tmp_path, suffix, save)
    expect(index)
    expect(tmp_path)
    status, _, err = run("compress", tmp_path, tmp_path / "small.safetensors", "--plan", "half")
    assert (status, err) == (0, "")
    (tmp_path / f"model-00002-of-00002.{suffix}").unlink()
    with pytest.raises(WeightsError, match=f"1 of 2 shards are missing: model-00002-of-00002.{suffix}"):
        Weights.from_checkpoint(index)
    save({"c": torch.ones(2)}, tmp_path / f"model-00002-of-00002.{suffix}")
    with pytest.raises(WeightsError, match=r"the shards lack 1 of 2 tensors: b\.weight"):
        Weights.from_checkpoint(index)


def test_damaged_indices(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    cases = {
        "Git LFS": ("version https://git-lfs.github.com/spec/v1", "run git lfs pull"),
        "no JSON": ("{", "is not an index of shards: it has no 'weight_map'"),
        "no map": ("[]", "has no 'weight_map'"),
        "empty map": ('{"weight_map": {}}', "is not tensor names → file names"),
        "numbers": ('{"weight_map": {"a": 1}}', "is not tensor names → file names"),
        "parent": ('{"weight_map": {"a": "../m.bin"}}', r"names '\.\./m\.bin', expected a file of tensors beside it"),
        "absolute": ('{"weight_map": {"a": "/etc/passwd"}}', "expected a file of tensors beside it"),
        "itself": ('{"weight_map": {"a": "model.safetensors.index.json"}}', "expected a file of tensors beside it"),
    }
    for case, (text, message) in cases.items():
        index.write_text(text)
        with naming(case), pytest.raises(WeightsError, match=message):
            Weights.from_checkpoint(index)


def test_folders(tmp_path):
    with pytest.raises(WeightsError, match=r"is a directory without a checkpoint: expected \.metadata"):
        Weights.from_checkpoint(tmp_path)
    for name in ("model.safetensors.index.json", "model.fp16.safetensors.index.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(WeightsError, match=r"holds several models; give one of model\.fp16\..*, model\.safetensors"):
        Weights.from_checkpoint(tmp_path)
