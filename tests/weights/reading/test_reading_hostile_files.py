"""Checkpoints that are cut while they are read, or made to take far more time or memory than their size."""

from __future__ import annotations

import json
import pickle
import struct
import sys
import zipfile

import pytest
import safetensors.torch
import torch
from each_case import naming

from lightning_compress.errors import WeightsError
from lightning_compress.weights import NotHeldError, Weights, dump, parse
from lightning_compress.weights.reading import checkpoint, read_checkpoint, safetensors_file, state_dicts
from lightning_compress.weights.reading.inert_pickle import Placeholder

STATE = {"a": torch.arange(3000.0), "b": torch.ones(5000, dtype=torch.bfloat16)}
WRITERS = {
    "zip": torch.save,
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors": safetensors.torch.save_file,
}


def test_tensors_do_not_depend_on_the_file_once_they_are_read(tmp_path):
    for case, write in WRITERS.items():
        path = tmp_path / case
        write(STATE, path)
        weights = Weights.from_checkpoint(path)
        path.write_bytes(b"")
        with naming(case):
            assert all(torch.equal(weights.state_dict()[name], tensor) for name, tensor in STATE.items())


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path, monkeypatch):
    find, places = checkpoint.find_state_dict, safetensors_file._places

    def cut_and(function):
        def call(*arguments, **named):
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - 8000)
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(safetensors_file, "_MAX_HEADER_BYTES", 10_000)
    monkeypatch.setattr(checkpoint, "find_state_dict", cut_and(find))
    monkeypatch.setattr(
        safetensors_file, "_places", lambda *where, **named: cut_and(lambda found: found)(places(*where, **named))
    )
    for case, write in WRITERS.items():
        path = tmp_path / case
        write(STATE, path)
        with naming(case), pytest.raises(WeightsError, match="cut short while it was read"):
            Weights.from_checkpoint(path)


def zip_checkpoint(path, pickled, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", **entries}.items():
            archive.writestr(f"m/{name}", content)
    return path


def test_entries_that_overlap_are_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    tensors = {str(number): torch.full((5000,), float(number)) for number in range(20)}
    torch.save(tensors, path)
    with zipfile.ZipFile(path) as archive:
        whole = path.read_bytes()
        infos = archive.infolist()
        first = next(info for info in infos if info.filename.endswith("/data/0"))
        directory = whole[archive.start_dir :]
        for info in infos:  # every storage is the first one of the file
            if "/data/" in info.filename:
                old, new = (struct.pack("<I", where.header_offset) for where in (info, first))
                directory = directory.replace(old + info.filename.encode(), new + info.filename.encode())
    end = first.header_offset + 30 + len(first.filename) + 64 + first.file_size + 64
    where = struct.pack("<I", archive.start_dir)
    assert directory.count(where) >= 1
    path.write_bytes(whole[:end] + directory.replace(where, struct.pack("<I", end)))
    with pytest.raises(WeightsError, match="entries that overlap"):
        Weights.from_checkpoint(path)


def test_keys_whose_hash_takes_exponential_time_are_refused(tmp_path):
    twice = b"\x80\x02}K\x01K\x02\x86q\x00" + b"".join(
        b"0h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1]) for level in range(60)
    )
    frozen = b"\x80\x04}(K\x01\x91\x94" + b"".join(
        b"0(h" + bytes([level]) + b"K\x01\x86h" + bytes([level]) + b"K\x02\x86\x91\x94" for level in range(60)
    )
    cases = {
        "key": twice + b"K\x01s.",
        "keys": twice.replace(b"}", b"}(", 1) + b"K\x01u.",
        "item of a set": twice.replace(b"}", b"\x8f(", 1) + b"\x90.",
        "item of a frozen set": twice.replace(b"}", b"(", 1) + b"\x91.",
        "dictionary": twice.replace(b"}", b"(", 1) + b"K\x01d.",
        "nested frozen sets": frozen + b"K\x01s.",
    }
    for case, pickled in cases.items():
        with naming(case), pytest.raises(WeightsError, match="uses its objects far more often than its size explains"):
            Weights.from_checkpoint(zip_checkpoint(tmp_path / "m.ckpt", pickled, {}))


def test_keys_of_python_2_that_are_tuples_are_refused(tmp_path):
    pairs = pickle.dumps([[(1, 2), 3]], protocol=2)[2:-1]
    pickled = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    with pytest.raises(WeightsError, match="whose keys are tuples"):
        Weights.from_checkpoint(zip_checkpoint(tmp_path / "m.ckpt", pickled, {}))


def safetensors_of(header, data=b"\x00" * 16):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_safetensors_files_that_the_library_refuses_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    whole = entry(0, 16, [4])
    cases = {
        "gap": {"a": entry(0, 4, [1]), "b": entry(8, 16, [2])},
        "overlap": {"a": entry(0, 12, [3]), "b": entry(8, 16, [2])},
        "same place": {"a": whole, "b": whole},
        "bytes left": {"a": entry(0, 12, [3])},
        "beyond the end": {"a": entry(0, 20, [5])},
        "negative": {"a": entry(0, 16, [-2, -2])},
        "backwards": {"a": entry(16, 0, [4])},
        "overflow": {"a": entry(0, 0, [1 << 62, 1 << 62, 0]), "b": entry(0, 16, [1 << 63])},
        "unknown dtype": {"a": entry(0, 16, [4], "F33")},
        "wrong bytes": {"a": entry(0, 16, [3])},
        "text": {"a": entry("0", "16", [4])},
        "no list": {"a": whole, "b": {"dtype": "F32", "shape": "", "data_offsets": [0, 4]}},
        "a fraction": {"a": entry(0.0, 16.0, [4])},
        "no offsets": {"a": {"dtype": "F32", "shape": [4]}},
        "a name twice": json.dumps({"a": whole}).encode()[:-1] + b"," + json.dumps({"a": whole}).encode()[1:],
        "half of a surrogate pair": {"\ud800": whole},
        "no JSON": b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"b":NaN}}',
        "metadata that are no text": {"a": whole, "__metadata__": {"x": 1}},
        "deep": b'{"a":' + b"[" * 100_000,
    }
    for case, header in cases.items():
        data = safetensors_of(header)
        path.write_bytes(data)
        with naming(case):
            with pytest.raises(WeightsError, match="is a damaged safetensors file"):
                Weights.from_checkpoint(path)
            if case not in ("a name twice", "same place"):  # which the library takes
                with pytest.raises((safetensors.SafetensorError, ValueError)):
                    safetensors.torch.load(data)
    path.write_bytes(safetensors_of({"a": entry(8, 16, [2]), "b": entry(0, 8, [2]), "empty": entry(8, 8, [0])}))
    expected = safetensors.torch.load(path.read_bytes())
    read = Weights.from_checkpoint(path).state_dict()
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


def test_every_dtype_of_the_library_is_read(tmp_path):
    path = tmp_path / "m.safetensors"
    for name, dtype in safetensors_file.SAFETENSORS_DTYPES.items():
        values = torch.arange(16, dtype=torch.uint8).remainder(2).view(dtype)
        path.write_bytes(safetensors.torch.save({"a": values}))
        with naming(name):
            found = safetensors_file.read_safetensors(str(path))["a"]
            assert found.dtype == dtype
            assert torch.equal(found.view(torch.uint8), values.view(torch.uint8))


COLLIDING = [k * sys.hash_info.modulus for k in range(1, 200)]  # whole numbers of one hash
PROTOCOL = b"\x80\x04"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n"


def number(value):
    return b"\x8a\x0b" + value.to_bytes(11, "little")


def test_pickles_that_use_objects_over_and_over_are_refused(tmp_path):
    ints = b"(" + b"K\x01" * 20_000 + b"t"
    calls = b"(" + b"h\x02h\x03R" * 5_000 + b"l."
    often = "uses its objects far more often than its size explains"
    cases = {
        "arguments of a class": (PROTOCOL + b"]cA\nB\nq\x020" + ints + b"q\x030" + calls, often),
        "sizes": (PROTOCOL + b"]ctorch\nSize\nq\x020" + ints + b"\x85q\x030" + calls, often),
        "encoded text": (
            PROTOCOL + b"]c_codecs\nencode\nq\x020" + text("x" * 100_000) + text("latin1") + b"\x86q\x030" + calls,
            often,
        ),
        "sizes as keys": (
            PROTOCOL + b"}q\x01ctorch\nSize\n" + ints + b"\x85Rq\x020" + b"h\x02Ns" * 5_000 + b".",
            often,
        ),
        "key of a storage": (
            PROTOCOL
            + b"("
            + text("storage")
            + b"ctorch\nFloatStorage\n"
            + text("x")
            + b"2\x86" * 60
            + text("cpu")
            + b"K\x01tQ.",
            often,
        ),
        "tuple as key of a storage": (
            PROTOCOL
            + b"("
            + text("storage")
            + b"ctorch\nFloatStorage\n"
            + text("x")
            + b"\x85"
            + text("cpu")
            + b"K\x01tQ.",
            "refers to something else than storages",
        ),
        "long name from the stack": (
            PROTOCOL + text("m" * 2_000) + text("n") + b"\x93.",
            "names a class in 2001 characters",
        ),
        "keys of one hash": (
            PROTOCOL + b"}(" + b"".join(number(value) + b"N" for value in COLLIDING) + b"u.",
            "over 100 keys of one hash",
        ),
        "tuples of one hash": (
            PROTOCOL + b"\x8f(" + b"".join(number(value) + b"\x85" for value in COLLIDING) + b"\x90.",
            "over 100 keys of one hash",
        ),
    }
    for case, (pickled, message) in cases.items():
        with naming(case), pytest.raises(WeightsError, match=message):
            Weights.from_checkpoint(zip_checkpoint(tmp_path / "m.ckpt", pickled, {}))


def test_one_mapping_under_many_names_is_looked_at_once(tmp_path, monkeypatch):
    leaf = {f"k{k}": None for k in range(50)}
    middle = {f"k{k}": leaf for k in range(50)}
    torch.save({f"k{k}": middle for k in range(50)}, tmp_path / "m.ckpt")
    looked_at = []
    real = state_dicts._is_state_dict
    monkeypatch.setattr(state_dicts, "_is_state_dict", lambda value, **rest: looked_at.append(1) or real(value, **rest))
    with pytest.raises(WeightsError, match="holds no state dict"):
        Weights.from_checkpoint(tmp_path / "m.ckpt")
    assert len(looked_at) < 200


def test_shared_values_are_copied_within_a_limit_of_the_size_of_the_file(tmp_path):
    shared = [None] * 100
    for _ in range(2):
        shared = [shared] * 100
    entries = {f"e{number}": shared for number in range(20)}
    torch.save({"state_dict": {"w": torch.ones(2)}, "hyper_parameters": {"size": 3}, **entries}, tmp_path / "m.ckpt")
    checkpoint = read_checkpoint(str(tmp_path / "m.ckpt"))
    assert checkpoint.entries["hyper_parameters"] == {"size": 3}
    assert all(type(checkpoint.entries[name]) is Placeholder for name in entries)


def test_tensors_of_many_dimensions_are_refused(tmp_path):
    tensor = torch.ones([1] * 65)
    torch.save({"w": tensor}, tmp_path / "m.ckpt")
    with pytest.raises(WeightsError, match="'w' is of an impossible shape"):
        Weights.from_checkpoint(tmp_path / "m.ckpt")
    with pytest.raises(WeightsError, match="'w' has 65 dimensions, expected at most 64"):
        Weights.from_state_dict({"w": tensor})
    (tmp_path / "m.safetensors").write_bytes(safetensors_of({"w": entry(0, 4, [1] * 65)}, bytes(4)))
    with pytest.raises(WeightsError, match="impossible shape"):
        Weights.from_checkpoint(tmp_path / "m.safetensors")


def test_values_with_keys_of_one_hash_are_not_held():
    pairs = dict.fromkeys(COLLIDING, 0)
    with pytest.raises(NotHeldError, match="over 100 keys of one hash"):
        dump(pairs)
    with pytest.raises(NotHeldError, match="over 100 keys of one hash"):
        parse(json.dumps({"$dict": [[value, 0] for value in COLLIDING]}, separators=(",", ":")))
