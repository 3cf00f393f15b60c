"""Models are compressed, loaded and expanded one tensor at a time, and parts of a file are read alone."""

from __future__ import annotations

import http.server
import json
import threading
import warnings
from functools import partial
from pathlib import Path

import fsspec
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from each_case import naming
from fresh_process import in_fresh_process
from little_memory import compress_and_expand_in_little_memory

from benchmarks.peak_memory import beyond
from lightning_compress import Archive, Half, Interval, Plan, Prune, Raw, Rule, compress, expand, load
from lightning_compress.archive import streams
from lightning_compress.errors import MismatchError, TruncatedError
from lightning_compress.files import ChangedFileError
from lightning_compress.runtime import limited_workers
from lightning_compress.weights import DeferredTensor, Weights, as_bytes

PLAN = Plan(Rule("large.*", Half()), Rule("*.weight", Prune(0.4), Interval(4), optional=True), Rule("*", Raw()))


def state():
    torch.manual_seed(0)
    base = torch.randn(64, 48)
    return {
        "large.weight": torch.randn(200, 300),
        "a.weight": base,
        "tied.weight": base,
        "part.weight": base[8:24],
        "b.weight": torch.randn(33, 7).t(),
        "half.weight": torch.randn(20, 20).half(),
        "pruned_orig": torch.randn(8, 8),
        "pruned_mask": (torch.rand(8, 8) > 0.5).float(),
        "steps": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "float8": torch.randn(16).to(torch.float8_e4m3fn),
        "complex": torch.randn(4, dtype=torch.complex64),
    }


def untied(tensors):
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def shards(folder, tensors):
    names = list(tensors)
    parts = {"first.safetensors": names[::2], "second.safetensors": names[1::2]}
    for file, own in parts.items():
        safetensors.torch.save_file(untied({name: tensors[name] for name in own}), folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, own in parts.items() for name in own}}))
    return index


def sources(folder):
    tensors = state()
    torch.save({"state_dict": tensors, "hyper_parameters": {"size": 3}}, folder / "m.ckpt")
    torch.save(tensors, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(untied(tensors), folder / "m.safetensors")
    return [folder / "m.ckpt", folder / "old.ckpt", folder / "m.safetensors", shards(folder, tensors)]


def test_files_are_those_of_weights_in_memory(tmp_path, monkeypatch):
    for path in sources(tmp_path):
        with naming(path.name):
            deferred = Weights.from_checkpoint(path, deferred=True)
            assert any(isinstance(weight.tensor, DeferredTensor) for weight in deferred)
            whole = Weights.from_checkpoint(path)
            assert deferred.ties == whole.ties
            assert deferred.fingerprint == whole.fingerprint
            compress(whole, PLAN).save(tmp_path / "whole.safetensors")
            monkeypatch.setattr(streams, "_IN_MEMORY", 1000)  # coded streams go to a temporary file
            compress(path, PLAN).save(tmp_path / "one by one.safetensors")
            monkeypatch.undo()
            found = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("whole", "one by one")]
            assert found[0] == found[1]


def test_expanded_files_hold_what_is_restored(tmp_path):
    small, out = tmp_path / "small.safetensors", tmp_path / "out.ckpt"
    tensors = {name: tensor for name, tensor in state().items() if not name.startswith("pruned")}
    torch.save({"state_dict": tensors, "hyper_parameters": {"size": 3}}, tmp_path / "m.ckpt")
    archive = compress(tmp_path / "m.ckpt", PLAN)
    archive.save(small)
    expected, seen = archive.restore(), []
    expand(small, out, on_tensor=lambda entry: seen.append(entry.name))
    assert seen == [entry.name for entry in archive.manifest.entries]
    for options in ({}, {"mmap": True}):
        checkpoint = torch.load(out, weights_only=True, **options)
        read = checkpoint.pop("state_dict")
        assert checkpoint == {"hyper_parameters": {"size": 3}} | {
            "pytorch-lightning_version": checkpoint["pytorch-lightning_version"]
        }
        assert read.keys() == expected.keys()
        for name, tensor in expected.items():
            with naming((name, options)):
                assert read[name].dtype == tensor.dtype
                assert read[name].stride() == tensor.stride()
                assert torch.equal(as_bytes(read[name]), as_bytes(tensor))
        assert read["tied.weight"].data_ptr() == read["a.weight"].data_ptr()
        assert read["part.weight"].untyped_storage().data_ptr() == read["a.weight"].untyped_storage().data_ptr()
    assert Weights.from_checkpoint(out).fingerprint == Weights.from_state_dict(expected).fingerprint
    expand(small, tmp_path / "again.ckpt")
    assert (tmp_path / "again.ckpt").read_bytes() == out.read_bytes()
    expand(small, tmp_path / "out.safetensors")
    plain = safetensors.torch.load_file(tmp_path / "out.safetensors")
    assert plain.keys() == expected.keys()
    assert all(torch.equal(as_bytes(plain[name]), as_bytes(tensor)) for name, tensor in expected.items())


def peak(work):
    """How many bytes of memory more than before the work takes at its peak, with one thread."""
    with limited_workers(1):
        return beyond(work)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs the peak of memory of Linux")
def test_memory_is_bounded_by_the_largest_tensor(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_IN_MEMORY", 1000)
    large = {f"{number}.weight": torch.full((1 << 20,), number / 7) for number in range(24)}  # 4 MiB each
    torch.save(large, tmp_path / "m.ckpt")
    del large
    plan, small = Plan(Rule("*", Half())), tmp_path / "m.safetensors"
    load(compress_tiny(tmp_path))  # what is imported and cached at the first call
    assert peak(lambda: compress(tmp_path / "m.ckpt", plan).save(small)) < 64 << 20
    assert peak(lambda: expand(small, tmp_path / "out.ckpt")) < 32 << 20
    assert peak(lambda: expand(small, tmp_path / "out.safetensors")) < 32 << 20
    assert peak(lambda: load(small, names=["3.weight"])) < 32 << 20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs the limits of memory of Linux")
def test_a_model_larger_than_the_memory_is_compressed_and_expanded(tmp_path):
    """48 MiB of weights, with 36 MiB of memory: too little to load the file that is made."""
    torch.manual_seed(2)
    large = {f"{number}.weight": torch.randn(1 << 19) for number in range(24)}  # 2 MiB each
    torch.save(large, tmp_path / "file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process
        dcp.save(large, checkpoint_id=tmp_path / "folder")
        dcp.save({"weight": torch.randn(512, 512)}, checkpoint_id=tmp_path / "warm")  # large enough for all loops
    for source, expanded in (("file", "out.safetensors"), ("folder", "out.ckpt")):
        outs = [tmp_path / f"{source}.small", tmp_path / expanded]
        with naming(source):
            error = in_fresh_process(
                compress_and_expand_in_little_memory, tmp_path / source, tmp_path / "warm", outs, 36 << 20
            )
        assert "allocate" in error
        with naming(expanded):
            found = Weights.from_checkpoint(outs[1], deferred=True).state_dict()
            assert len(found) == len(large)
            assert all(torch.allclose(found[name], tensor, rtol=2**-7) for name, tensor in large.items())


def compress_tiny(folder):
    path = folder / "tiny.safetensors"
    compress({"weight": torch.full((512, 512), 0.1)}, Plan(Rule("*", Half()))).save(path)
    expand(path, folder / "tiny.ckpt")
    return path


def test_named_tensors_are_read_alone(tmp_path):
    path = tmp_path / "m.safetensors"
    archive = compress(state(), PLAN)
    archive.save(path)
    expected = archive.restore()
    for names in ([], ["b.weight"], ["tied.weight"], ["part.weight", "a.weight", "steps"], list(expected)):
        with naming(names):
            found = load(path, names=names)
            assert found.keys() == set(names)
            assert all(torch.equal(as_bytes(found[name]), as_bytes(expected[name])) for name in found)
    found = load(path, names=["a.weight", "part.weight"])
    assert found["part.weight"].untyped_storage().data_ptr() == found["a.weight"].untyped_storage().data_ptr()
    with pytest.raises(MismatchError, match=r"has no tensor 'a\.wieght' \(did you mean 'a\.weight'\?\)"):
        load(path, names=["a.wieght"])
    with pytest.raises(MismatchError, match="expected a list of names"):
        load(path, names="a.weight")
    assert all(tensor.device.type == "meta" for tensor in load(path, device="meta").values())


def test_tensors_of_an_archive_are_a_mapping_that_decodes_when_asked(tmp_path):
    path = tmp_path / "m.safetensors"
    compress(state(), PLAN).save(path)
    archive = Archive.open(path, deferred=True)
    expected = archive.restore()
    assert list(archive.tensors) == list(expected)
    assert len(archive.tensors) == len(expected)
    for name, tensor in archive.tensors.items():
        assert torch.equal(as_bytes(tensor), as_bytes(expected[name]))
    with pytest.raises(KeyError):
        archive.tensors["none"]
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(TruncatedError, match="changed or cut short"):
        archive.tensors["large.weight"]


def test_a_checkpoint_that_changes_while_it_is_compressed_is_an_error(tmp_path):
    path = tmp_path / "m.ckpt"
    for change in ("rewritten", "cut"):
        torch.save(state(), path)
        weights = Weights.from_checkpoint(path, deferred=True)
        if change == "cut":
            path.write_bytes(path.read_bytes()[:-200_000])
        else:
            path.write_bytes(path.read_bytes() + b"x")
        with naming(change), pytest.raises(ChangedFileError, match="was changed or cut short while it was read"):
            compress(weights, PLAN)


class Counting(http.server.SimpleHTTPRequestHandler):
    """Serves files, with or without ranges, and counts the bytes."""

    ranges, sent = True, 0

    def do_GET(self):
        data = (Path(self.directory) / self.path.strip("/")).read_bytes()
        asked = self.headers.get("Range") if self.ranges else None
        first, last = 0, len(data) - 1
        if asked:
            first, last = (int(text) for text in asked.removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        type(self).sent += len(part)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}")
        self._end(len(part))
        self.wfile.write(part)

    def do_HEAD(self):
        self.send_response(200)
        self._end((Path(self.directory) / self.path.strip("/")).stat().st_size)

    def _end(self, nbytes):
        self.send_header("Content-Length", str(nbytes))
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def log_message(self, *_): ...


def test_of_a_remote_file_only_the_bytes_of_the_named_tensors_are_transferred(tmp_path):
    pytest.importorskip("aiohttp")
    torch.manual_seed(1)
    tensors = {f"{number}.weight": torch.randn(200, 200) for number in range(8)}
    compress(tensors, Plan(Rule("*", Half()))).save(tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").stat().st_size
    expected = load(tmp_path / "m.safetensors")["5.weight"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/m.safetensors"
        for ranges, least, most in ((True, 0, whole // 3), (False, whole, 4 * whole)):
            Counting.ranges, Counting.sent = ranges, 0
            fsspec.get_filesystem_class("http").clear_instance_cache()
            with naming(ranges):
                assert torch.equal(load(address, names=["5.weight"])["5.weight"], expected)
                assert least <= Counting.sent < most
        server.shutdown()
    with fsspec.open("memory://streaming/m.safetensors", "wb") as file:
        file.write((tmp_path / "m.safetensors").read_bytes())
    assert torch.equal(load("memory://streaming/m.safetensors", names=["5.weight"])["5.weight"], expected)
