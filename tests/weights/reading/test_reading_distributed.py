"""Folders of torch.distributed.checkpoint: read in pieces, without running code, and refused where they are damaged."""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import warnings

import fsspec
import pytest
import torch
import torch.distributed.checkpoint as dcp
from each_case import naming
from fsspec.implementations.memory import MemoryFile
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from lightning_compress import Raw, Rule, compress
from lightning_compress.errors import WeightsError
from lightning_compress.files import ChangedFileError
from lightning_compress.plan import Plan
from lightning_compress.weights import DeferredTensor, Weights, as_bytes
from lightning_compress.weights.reading.distributed.metadata import _fill

LARGE = torch.arange(60.0).reshape(6, 10)
GRID = [(row, column) for row in (0, 4) for column in (0, 3, 7)]


def state():
    torch.manual_seed(0)
    return {
        "b.weight": torch.randn(5, 4),
        "a.weight": torch.randn(4, 5).t(),
        "channels": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "half": torch.randn(3).bfloat16(),
        "float8": torch.randn(16).to(torch.float8_e4m3fn),
        "part": torch.randn(8, 8)[2:4, 1:3],
        "steps": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "mask": torch.tensor([True, False]),
    }


def save(content, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process
        dcp.save(content, checkpoint_id=folder)
    return folder


def grid(tensor, corners=GRID):
    """Corner → box of a matrix: rows 0–3 and 4–5, columns 0–2, 3–6 and 7–9."""
    bottom, right = {0: 4, 4: 6}, {0: 3, 3: 7, 7: 10}
    return {(row, column): tensor[row : bottom[row], column : right[column]].clone() for row, column in corners}


def write(folder, tensors, values=(), **changes):
    """A folder as ranks would write it; each box is in a file of its own.

    Args:
        folder: new.
        tensors: name → shape and dtype, and offsets → box.
        values: names and values that are no tensors.
        changes: attributes of the metadata to replace.
    """
    folder.mkdir()
    kinds, storage = {}, {}

    def put(index, value):
        file = f"__{len(storage)}_0.distcp"
        torch.save(value, folder / file)
        storage[index] = _StorageInfo(file, 0, (folder / file).stat().st_size)

    for name, (shape, dtype, boxes) in tensors.items():
        chunks = [ChunkStorageMetadata(torch.Size(offsets), box.shape) for offsets, box in boxes.items()]
        kinds[name] = TensorStorageMetadata(TensorProperties(dtype), torch.Size(shape), chunks)
        for number, (offsets, box) in enumerate(boxes.items()):
            put(MetadataIndex(name, offsets, number), box)
    for name, value in values:
        kinds[name] = BytesStorageMetadata()
        put(MetadataIndex(name), value)
    metadata = Metadata(kinds, storage_data=storage)
    for attribute, change in changes.items():
        setattr(metadata, attribute, change(getattr(metadata, attribute)))
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def refuses(folder, message):
    with pytest.raises(WeightsError, match=message):
        compress(Weights.from_checkpoint(folder, deferred=True), "exact")
    shutil.rmtree(folder)


def test_what_one_process_saves_is_read_as_from_one_file(tmp_path):
    folder = save(
        {"state_dict": state(), "hyper_parameters": {"size": [3, {"deep": None}]}, "epoch": 4}, tmp_path / "m"
    )
    torch.save({"state_dict": state()}, tmp_path / "m.ckpt")
    weights, expected = Weights.from_checkpoint(folder), Weights.from_checkpoint(tmp_path / "m.ckpt")
    assert weights.fingerprint == expected.fingerprint
    assert weights.hyper_parameters == {"size": [3, {"deep": None}]}
    deferred = Weights.from_checkpoint(folder, deferred=True)
    assert all(isinstance(weight.tensor, DeferredTensor) for weight in deferred)
    plan = Plan(Rule("*", Raw()))
    compress(folder, plan).save(tmp_path / "folder.safetensors")
    compress(weights, plan).save(tmp_path / "memory.safetensors")
    assert (tmp_path / "folder.safetensors").read_bytes() == (tmp_path / "memory.safetensors").read_bytes()


def test_a_state_dict_is_found_or_chosen_by_its_key(tmp_path):
    save(state(), tmp_path / "flat")
    assert Weights.from_checkpoint(tmp_path / "flat").state_dict().keys() == state().keys()
    adam = {"state": {"0": {"exp_avg": torch.ones(3), "step": 1}}, "param_groups": [{"lr": 0.1}]}
    save({"model": state(), "optimizer": adam}, tmp_path / "with optimizer")
    assert Weights.from_checkpoint(tmp_path / "with optimizer").state_dict().keys() == state().keys()
    folder = save({"model": {"w": torch.ones(2, 2)}, "ema": {"w": torch.zeros(2, 2)}}, tmp_path / "two")
    with pytest.raises(WeightsError, match=r"several state dicts.*model \(1 tensor, 16 bytes\); ema \(1 tensor"):
        Weights.from_checkpoint(folder)
    assert not Weights.from_checkpoint(folder, key="ema").state_dict()["w"].any()


def test_the_rest_of_a_lightning_checkpoint_is_read_from_beside_it(tmp_path):
    rest = {"pytorch-lightning_version": "2.6.6", "epoch": 3, "hyper_parameters": {"size": 5}, "own": [1, 2]}
    for key in ("state_dict", "model"):  # of ModelParallelStrategy, and of FSDPStrategy
        folder = save({key: state(), "optimizer_0": {"state.a.exp_avg": torch.ones(3)}}, tmp_path / key)
        torch.save(rest | {"callbacks": {"x": torch.ones(2)}}, folder / "meta.pt")
        weights = Weights.from_checkpoint(folder)
        assert weights.state_dict().keys() == state().keys()
        assert (weights.checkpoint, weights.hyper_parameters) == ({"epoch": 3, "own": [1, 2]}, {"size": 5})
        assert weights.checkpoint_left_out == ()
    (folder / "meta.pt").write_bytes(b"PK\x03\x04nothing")
    refuses(folder, r"meta\.pt cannot be read as a checkpoint: it is damaged")


def test_pieces_are_put_together(tmp_path):
    uneven = {(0,): torch.tensor([1.0, 2.0]), (2,): torch.tensor([3.0]), (3,): torch.zeros(0)}
    extra = [("module._extra_state", io.BytesIO(b"x"))]
    tensors = {
        "grid": ((6, 10), torch.float32, grid(LARGE)),
        "uneven": ((3,), torch.float32, uneven),
        "number": ((), torch.int64, {(): torch.tensor(7)}),
        "float8": ((4,), torch.float8_e4m3fn, {(k,): torch.ones(2).to(torch.float8_e4m3fn) for k in (0, 2)}),
        "empty": ((0, 3), torch.float32, {(0, 0): torch.zeros(0, 3)}),
    }
    found = Weights.from_checkpoint(write(tmp_path / "m", tensors, extra)).state_dict()
    assert torch.equal(found["grid"], LARGE)
    assert found["uneven"].tolist() == [1, 2, 3]
    assert (found["number"].item(), found["empty"].shape) == (7, (0, 3))
    assert torch.equal(as_bytes(found["float8"]), as_bytes(torch.ones(4).to(torch.float8_e4m3fn)))


def test_boxes_fill_a_region_or_not():
    def filled(shape, *boxes):
        return _fill([(offsets, sizes) for offsets, sizes in boxes], (0,) * len(shape), shape)

    assert filled((4, 4), ((0, 0), (2, 4)), ((2, 0), (2, 1)), ((2, 1), (2, 3)))
    assert not filled((4, 4))
    assert not filled((4, 4), ((0, 0), (4, 3)))
    assert not filled((4, 4), ((0, 0), (3, 4)), ((2, 0), (2, 4)))  # overlap
    assert not filled((4, 4), ((0, 0), (1, 4)), ((2, 0), (2, 4)))  # gap
    assert not filled((4, 4), ((1, 0), (3, 4)), ((4, 0), (1, 4)))  # shifted
    assert not filled((4,), ((0,), (2,)), ((0,), (2,)))


def test_hostile_folders_are_refused_by_name(tmp_path):
    def places(**changes):
        def change(storage):
            return {index: _StorageInfo(**(vars(info) | changes)) for index, info in storage.items()}

        return change

    cases = {
        "gap": (grid(LARGE, GRID[1:]), {}, r"\.metadata lists pieces of w that do not divide its shape \[6, 10\]"),
        "none": ({}, {}, "do not divide its shape"),
        "overlap": (grid(LARGE) | {(4, 5): LARGE[4:, 5:].clone()}, {}, "do not divide its shape"),
        "dtype": (grid(LARGE.int()), {}, r"m: 'w' in __\d_0\.distcp has a piece of torch\.int32 and shape"),
        "expanded": (
            {(0, 0): torch.zeros(1).expand(6, 10)},
            {"storage_data": places(length=240)},
            "cannot be read as a checkpoint",
        ),
        "no place": (grid(LARGE), {"storage_data": lambda storage: {}}, "does not say where w is"),
        "outside": (
            grid(LARGE),
            {"storage_data": places(relative_path="../x")},
            r"names the file \.\./x, expected one",
        ),
        "parent": (grid(LARGE), {"storage_data": places(relative_path="..")}, r"names the file \.\., expected one"),
        "missing": (
            grid(LARGE),
            {"storage_data": places(relative_path="gone")},
            "m lacks gone: copy the whole folder",
        ),
        "twice": (grid(LARGE), {"storage_data": places(relative_path="__0_0.distcp")}, "names bytes of .* twice"),
        "far": (grid(LARGE), {"storage_data": places(offset=10**6)}, "bytes, expected at least 1,00"),
        "negative": (grid(LARGE), {"storage_data": places(offset=-5)}, "names impossible bytes of"),
        "short": (grid(LARGE), {"storage_data": places(length=5)}, "gives 'w' 5 bytes, expected"),
        "extension": (
            grid(LARGE),
            {"storage_data": places(transform_descriptors=["zstd"])},
            r"extension \(\['zstd'\]\)",
        ),
        "key": (grid(LARGE), {"planner_data": lambda _: {"w": (1.5,)}}, r"says that w is at \(1\.5,\)"),
        "deep": (grid(LARGE), {"planner_data": lambda _: {"w": ("a",) * 200}}, "expected up to 100 keys"),
        "other name": (grid(LARGE), {"state_dict_metadata": lambda kinds: {5: kinds["w"]}}, "names an entry 5"),
        "no kind": (
            grid(LARGE),
            {"state_dict_metadata": lambda kinds: {"w": 3}},
            "holds a int, expected TensorStorage",
        ),
    }
    for case, (boxes, changes, message) in cases.items():
        with naming(case):
            refuses(write(tmp_path / "m", {"w": ((6, 10), torch.float32, boxes)}, **changes), message)
    folder = write(tmp_path / "m", {"w": ((6, 10), torch.float32, {(0, 0): LARGE, (0, 1): LARGE})})
    refuses(folder, "do not divide its shape")


def test_repeated_pieces_and_sparse_tensors_are_refused(tmp_path):
    def repeated(kinds):
        kinds["w"].chunks *= 40
        return {str(name): kinds["w"] for name in range(500)}  # one list of pieces for all

    boxes = {"w": ((6, 10), torch.float32, grid(LARGE))}
    refuses(write(tmp_path / "m", boxes, state_dict_metadata=repeated), "repeats its pieces far more often than")

    def sparse(kinds):
        kinds["w"].properties.layout = torch.sparse_coo
        return kinds

    refuses(write(tmp_path / "m", boxes, state_dict_metadata=sparse), r"w is a sparse tensor: save its to_dense\(\)")


class Harmful:
    def __reduce__(self):
        return os.mkdir, (self.folder,)

    def __init__(self, folder):
        self.folder = folder


def test_code_in_metadata_and_pieces_is_not_run(tmp_path):
    target = str(tmp_path / "made")
    folder = tmp_path / "m"
    boxes = {"w": ((6, 10), torch.float32, grid(LARGE))}
    write(folder, boxes)
    (folder / ".metadata").write_bytes(pickle.dumps(Harmful(target)))
    refuses(folder, r"\.metadata holds a .*mkdir, expected Metadata of torch\.distributed\.checkpoint")
    keys = {"w": ("state_dict", "w"), "hyper_parameters": ("hyper_parameters",)}
    write(folder, boxes, [("hyper_parameters", {"size": 3, "bad": Harmful(target)})], planner_data=lambda _: keys)
    assert Weights.from_checkpoint(folder).hyper_parameters == {"size": 3}
    torch.save(Harmful(target), folder / "__2_0.distcp")
    write(tmp_path / "copy", boxes)
    info = (tmp_path / "copy" / "__2_0.distcp").stat().st_size
    (tmp_path / "copy" / "__2_0.distcp").write_bytes((folder / "__2_0.distcp").read_bytes().ljust(info, b"\0"))
    refuses(tmp_path / "copy", r"copy: 'w' ")
    assert not os.path.exists(target)  # noqa: PTH110 – a name


def test_folders_that_are_something_else_say_what_to_do(tmp_path):
    def interrupted(folder):
        write(folder, {"w": ((6, 10), torch.float32, grid(LARGE))})
        (folder / ".metadata").unlink()

    def deepspeed(folder):
        (folder / "checkpoint").mkdir(parents=True)

    cases = {
        "interrupted": (interrupted, r"holds pieces \(\*\.distcp\) but no \.metadata.*interrupted"),
        "DeepSpeed": (deepspeed, r"is a checkpoint of DeepSpeed: .* zero_to_fp32\.py"),
        "empty": (lambda folder: folder.mkdir(), r"is a directory without a checkpoint: expected \.metadata"),
    }
    for case, (make, message) in cases.items():
        make(tmp_path / "m")
        with naming(case):
            refuses(tmp_path / "m", message)


def test_a_folder_that_changes_while_it_is_read_is_an_error(tmp_path):
    folder = save(state(), tmp_path / "m")
    weights = Weights.from_checkpoint(folder, deferred=True)
    with (folder / "__0_0.distcp").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ChangedFileError, match="was changed"):
        compress(weights, "exact")


def test_damage_always_raises_a_weights_error(tmp_path):
    tensors = {"grid": ((6, 10), torch.float32, grid(LARGE)), "number": ((), torch.int64, {(): torch.tensor(7)})}
    folder = write(tmp_path / "m", tensors)
    draw, refused = random.Random(5), 0
    for path in (folder / ".metadata", folder / "__0_0.distcp"):
        sound = path.read_bytes()
        for _ in range(300):
            damaged = bytearray(sound)
            for _ in range(draw.randint(1, 4)):
                position = draw.randrange(len(damaged))
                damaged[position : position + draw.randint(0, 5)] = draw.randbytes(draw.randint(0, 5))
            path.write_bytes(damaged)
            try:
                Weights.from_checkpoint(folder).state_dict()
            except WeightsError:
                refused += 1
        path.write_bytes(sound)
    assert refused > 300


@pytest.fixture
def remote(tmp_path):
    """A folder on a remote filesystem, and its local copy."""
    local = save(
        {"state_dict": state() | {name: torch.randn(512, 512) for name in ("c.weight", "d.weight")}},
        tmp_path / "run.ckpt",
    )
    torch.save({"epoch": 3, "pytorch-lightning_version": "2.6.0", "hyper_parameters": {"width": 4}}, local / "meta.pt")
    system, url = fsspec.filesystem("memory"), "memory://remote/run.ckpt"
    system.put(str(local), "/remote/run.ckpt", recursive=True)
    yield url, local
    system.rm("/remote", recursive=True)


@pytest.mark.parametrize("deferred", [False, True])
def test_a_remote_folder_is_read_as_a_local_one(remote, deferred):
    url, local = remote
    found, expected = (Weights.from_checkpoint(path, deferred=deferred) for path in (url, local))
    assert found.hyper_parameters == expected.hyper_parameters == {"width": 4}
    assert found.fingerprint == expected.fingerprint
    assert [weight.name for weight in found] == [weight.name for weight in expected]


def test_remote_pieces_are_transferred_one_by_one(remote, monkeypatch):
    lengths = []

    def measured(file, size=-1):
        content = io.BytesIO.read(file, size)
        lengths.append(len(content))
        return content

    monkeypatch.setattr(MemoryFile, "read", measured, raising=False)
    compress(Weights.from_checkpoint(remote[0], deferred=True), "half")
    assert max(lengths) == 4 << 18
    assert (remote[1] / "__0_0.distcp").stat().st_size > 8 << 18


def test_a_remote_folder_that_lacks_a_file_is_refused(remote):
    url, _ = remote
    fsspec.filesystem("memory").rm("/remote/run.ckpt/__0_0.distcp")
    with pytest.raises(WeightsError, match=r"memory://remote/run.ckpt lacks __0_0.distcp"):
        Weights.from_checkpoint(url)
