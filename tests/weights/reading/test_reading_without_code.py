"""Checkpoints that name code: the weights and the plain hyper-parameters are read, and no code runs."""

from __future__ import annotations

import argparse
import array
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import itertools
import logging
import operator
import os
import pathlib
import pickle
import random
import re
import struct
import sys
import types
import uuid
import warnings
import zipfile
from dataclasses import dataclass

import fsspec
import numpy as np
import pytest
import torch
from each_case import naming
from torch import nn

from lightning_compress.errors import WeightsError
from lightning_compress.weights import Weights
from lightning_compress.weights.reading import hyper_parameters, read_checkpoint
from lightning_compress.weights.reading.inert_pickle import Placeholder

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3), "steps": torch.tensor(3)}


class Color(enum.Enum):
    RED = 1


@dataclass
class Config:
    size: int = 3


class Slotted:
    __slots__ = ("x",)

    def __init__(self):
        self.x = 1


class Words(list):
    """A list of a class of its own."""


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def expect_same(weights, state=STATE):
    restored = weights.state_dict()
    assert list(restored) == list(state)
    for name, tensor in state.items():
        assert restored[name].dtype == tensor.dtype
        assert torch.equal(restored[name], tensor), name


HYPER_PARAMETERS = {
    "path": pathlib.PurePosixPath("/data"),
    "namespace": argparse.Namespace(lr=1),
    "class": nn.GELU,
    "function": torch.nn.functional.relu,
    "module": nn.Linear(2, 2),
    "enum": Color.RED,
    "dataclass": Config(),
    "slots": Slotted(),
    "list of a class": Words([1, 2]),
    "array": np.arange(3),
    "inside": {"deep": [(1, {"x": nn.ReLU})]},
    "counter": collections.Counter("ab"),
    "partial set": {1, Color.RED},
}
READABLE = {"size": 3, "lr": 0.1, "names": ["a", "b"], "nested": {"x": [1, None, True]}}


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 5}], ids=str)
def test_unreadable_hyper_parameters_are_skipped_by_name(tmp_path, caplog, options):
    content = {
        "state_dict": STATE,
        "hyper_parameters": {**READABLE, **HYPER_PARAMETERS},
        "callbacks": {Color.RED: Config()},
    }
    weights = Weights.from_checkpoint(saved(tmp_path / "m.ckpt", content, **options))
    expect_same(weights)
    assert weights.hyper_parameters == READABLE
    assert set(weights.hyper_parameters_left_out) == set(HYPER_PARAMETERS)
    (record,) = caplog.records
    message = record.getMessage()
    assert "\n" not in message
    for name in ("path (pathlib.PurePosixPath)", "enum (test_reading_without_code.Color)", "inside (torch.nn.modules"):
        assert name in message


class NewArguments:
    """Protocol 2 pickles its creation as a call of a partial function."""

    def __new__(cls, *, size):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"size": 3}


Pair = collections.namedtuple("Pair", "a b")
OBJECTS = [
    NewArguments(size=3), functools.partial(int, base=2), "text".upper, np.random.default_rng(0), np.dtype("f4"),
    np.random.RandomState(0), np.ma.masked, datetime.datetime(2020, 1, 1), datetime.timedelta(1), decimal.Decimal(1),
    fractions.Fraction(1, 2), uuid.UUID(int=1), collections.deque([1]), collections.ChainMap({}), re.compile("a"),
    range(3), slice(1), 1j, b"bytes", bytearray(b"a"), frozenset([1]), {1}, Pair(1, 2), random.Random(0), Ellipsis,
    NotImplemented, type(None), list[int], torch.device("cpu"), torch.strided, torch.nn.ReLU(), torch.optim.Adam,
    logging.getLogger("a"), collections.Counter("a"), collections.defaultdict(list, a=[1]), types.SimpleNamespace(a=1),
    torch.ones(2).to_sparse(), nn.Parameter(torch.ones(2)), ValueError("a"), Color, Color.RED, ipaddress.ip_address(1),
    array.array("f", [1.0]), itertools.count(3), operator.attrgetter("a"), torch.Generator, np.float32, np.array(["a"]),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Pickle, copy, and deepcopy support")
def test_objects_of_any_class_do_not_hinder(tmp_path):
    for protocol, value in [(5, OBJECTS), *((2, value) for value in OBJECTS)]:
        with naming((protocol, value)):
            path = tmp_path / "m.ckpt"
            saved(path, {"value": value, "state_dict": STATE, "hyper_parameters": {"size": 3, "value": value}},
                  pickle_protocol=protocol)  # fmt: skip
            weights = Weights.from_checkpoint(path)
            expect_same(weights)
            assert weights.hyper_parameters["size"] == 3


def test_values_of_numpy_and_torch_keep_their_types(tmp_path, caplog):
    values = {"lr": np.float64(0.1), "size": np.int64(3), "half": np.float16(0.5), "on": np.bool_(True),
              "big": np.dtype(">i4").type(7), "shape": torch.Size([2, 3]), "dtype": torch.bfloat16,
              "ordered": collections.OrderedDict(b=1, a=(2, [3])), "pair": (1, "a")}  # fmt: skip
    content = {"state_dict": STATE, "hyper_parameters": values, "x": Config(), "epoch": 3}
    for protocol in (2, 4):
        with naming(protocol):
            read = read_checkpoint(str(saved(tmp_path / "m.ckpt", content, pickle_protocol=protocol))).entries
            assert read["epoch"] == 3
            assert isinstance(read["x"], Placeholder)
            assert read["hyper_parameters"] == values
            for name, value in values.items():
                assert type(read["hyper_parameters"][name]) is type(value), name
    assert caplog.records == []


class DictConfig:
    """Pickles like a configuration of OmegaConf."""

    def __init__(self, content):
        self.__dict__["_content"] = content


def test_hyper_parameters_that_are_one_object(tmp_path, caplog):
    cases = {
        "namespace": (argparse.Namespace(size=3, act=nn.GELU), {"size": 3}, ("act",)),
        "OmegaConf": (DictConfig({"size": Config()}), {}, ("size",)),
        "other": (Config(), {}, ("hyper_parameters",)),
        "default dictionary": (collections.defaultdict(list, size=3), {"size": 3}, ()),
    }
    for case, (value, held, left_out) in cases.items():
        with naming(case):
            content = {"state_dict": STATE, "hyper_parameters": value, "x": Config()}
            weights = Weights.from_checkpoint(saved(tmp_path / "m.ckpt", content))
            assert (weights.hyper_parameters, weights.hyper_parameters_left_out) == (held, left_out)


def test_tensors_of_every_form_come_back_the_same(tmp_path):
    base = torch.randn(4, 6)
    state = {
        "base": base,
        "view": base[1:3, ::2],
        "transposed": torch.randn(3, 5).t(),
        "parameter": nn.Parameter(torch.randn(3)),
        "frozen": nn.Parameter(torch.randn(2), requires_grad=False),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "expanded": torch.tensor([3.0]).expand(4),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
    }
    dtypes = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
              "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")  # fmt: skip
    state |= {name: torch.tensor([0, 1, 2]).to(getattr(torch, name)) for name in dtypes}
    tagged = torch.randn(2)
    tagged.note = "has an attribute"
    state["tagged"] = tagged
    for is_zip in (True, False):
        with naming(is_zip):
            path = tmp_path / f"{is_zip}.ckpt"
            saved(path, {"state_dict": state, "x": Config()}, _use_new_zipfile_serialization=is_zip)
            weights = Weights.from_checkpoint(path)
            assert weights.ties.keys() == {"view"}
            restored = weights.state_dict()
            for name, tensor in state.items():
                assert restored[name].dtype == tensor.dtype, name
                assert restored[name].shape == tensor.shape, name
                expected, got = (
                    t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (tensor, restored[name])
                )
                assert torch.equal(expected, got), name


def test_a_remote_checkpoint(tmp_path):
    with fsspec.open("memory://reading/m.ckpt", "wb") as file:
        torch.save({"state_dict": STATE, "hyper_parameters": HYPER_PARAMETERS}, file)
    expect_same(Weights.from_checkpoint("memory://reading/m.ckpt"))


def test_a_state_dict_with_metadata_beside_objects(tmp_path):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    content = {"state_dict": module.state_dict(), "args": argparse.Namespace(lr=1)}
    expect_same(Weights.from_checkpoint(saved(tmp_path / "m.ckpt", content)), module.state_dict())


class Subclass(torch.Tensor):
    """A tensor subclass."""


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_cannot_be_read_are_named(tmp_path):
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    cases = {
        "subclass": (
            torch.ones(2).as_subclass(Subclass),
            r"'bad' is of the tensor subclass .*Subclass, .*save a plain",
        ),
        "object": (Config(), r"'bad' is a .*Config, which is not imported, expected a tensor"),
        "quantized": (quantized, r"'bad' is a quantized tensor: save its dequantize\(\)"),
        "sparse": (torch.eye(2).to_sparse(), r"'bad' is a sparse tensor: save its to_dense\(\)"),
        "meta": (torch.ones(2, device="meta"), "'bad' is on the meta device"),
        "conjugated": (torch.ones(2, dtype=torch.complex64).conj(), "'bad' is a lazily conjugated"),
    }
    for case, (value, message) in cases.items():
        with naming(case):
            path = saved(tmp_path / "m.ckpt", {"state_dict": {**STATE, "bad": value}, "x": Config()})
            with pytest.raises(WeightsError, match=message):
                Weights.from_checkpoint(path)


def test_extra_state_of_any_type_is_left_out(tmp_path):
    path = saved(tmp_path / "m.ckpt", {"state_dict": {**STATE, "q._extra_state": Config()}})
    weights = Weights.from_checkpoint(path)
    expect_same(weights)
    assert weights.excluded == ("q._extra_state",)


class Attack:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def test_nothing_is_run_or_imported(tmp_path, monkeypatch):
    """Calls, modules that run code when they are imported, and methods that unpickling would call."""
    (tmp_path / "imported_by_a_pickle.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nVALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    ran = f"touch {tmp_path / 'ran'}"
    attacks = {
        "call": Attack(os.system, ran),
        "eval": Attack(eval, f"open({str(tmp_path / 'ran')!r}, 'w')"),
        "getattr": Attack(getattr, Attack(__import__, "os"), "system"),
        "state": Attack(nn.Module, state={"forward": Attack(os.system, ran)}),
        "slots": Attack(Slotted, state=(None, {"x": Attack(os.system, ran)})),
    }
    for case, attack in attacks.items():
        with naming(case):
            path = saved(tmp_path / "m.ckpt", {"state_dict": STATE, "hyper_parameters": {"x": attack}, "y": attack})
            expect_same(Weights.from_checkpoint(path))
    by_hand = {
        "import": b"cimported_by_a_pickle\nVALUE\n",
        "call by hand": b"cposix\nsystem\n(X" + struct.pack("<I", len(ran)) + ran.encode() + b"tR",
        "instance of protocol 0": b"(S'" + ran.encode() + b"'\niposix\nsystem\n",
        "object of protocol 1": b"(cposix\nsystem\nS'" + ran.encode() + b"'\no",
        "name with dots": b"\x8c\x08builtins\x8c\x0d__import__.os\x93",
    }
    for case, attack in by_hand.items():
        with naming(case):
            expect_same(Weights.from_checkpoint(with_pickled(tmp_path / "m.ckpt", attack)))
    assert not (tmp_path / "ran").exists()
    assert "imported_by_a_pickle" not in sys.modules


def with_pickled(path, opcodes):
    """A checkpoint with an entry ``x`` whose pickle is written by hand, after the opcodes of a good one."""
    whole = io.BytesIO()
    torch.save({"state_dict": STATE}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(
                name, data[:-1] + b"X\x01\x00\x00\x00x" + opcodes + b"s." if name.endswith("data.pkl") else data
            )
    return path


def test_classes_of_the_package_are_not_changed_by_a_file(tmp_path):
    """Setting the state or the items of a class, a dictionary or a number of the unpickler."""
    targets = (b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"cx\ny\n", b"}", b"]", b"K\x01", b"ctorch\nTensor\n")
    state = b"N}X\x05\x00\x00\x00itemsK\x01s\x86b"
    for opcodes in (
        target + change for target in targets for change in (state, b"}b", b"K\x01K\x02s", b"K\x01a", b"(K\x01e")
    ):
        with naming(opcodes):
            path = with_pickled(tmp_path / "m.ckpt", opcodes)
            with contextlib.suppress(WeightsError):
                expect_same(Weights.from_checkpoint(path))
    expect_same(
        Weights.from_checkpoint(
            saved(tmp_path / "m.ckpt", {"state_dict": collections.OrderedDict(STATE), "x": Config()})
        )
    )


def test_bombs_are_refused(tmp_path):
    bombs = {
        "deep tuple": (b"}" + b")" + b"\x85" * 30_000 + b"K\x01s", "nests objects more than 1000 levels"),
        "deep list": (b"]" * 30_000 + b"a" * 29_999, "nests objects more than 1000 levels"),
        "memo index": (b"Nr\xff\xff\xff\x7f", "stores object 2147483647 after"),
        "extension": (b"\x82\x01", "extension registry"),
        "long text": (b"\x8d" + struct.pack("<Q", 1 << 50) + b"x", "damaged, or of another kind"),
        "long name": (b"ctorch\n" + b"x" * 30_000 + b"\n0N", "names a class in 30006 characters"),
        "many names": (b"".join(b"cm\nn%d\n0" % i for i in range(10_001)) + b"N", "names more than 10000 classes"),
        "empty stack": (b"000000000000", "takes objects from an empty stack|damaged"),
        "storage": (b"(X\x04\x00\x00\x00whatX\x01\x00\x00\x000NNK\x01tQ", "something else than storages"),
    }
    for case, (opcodes, message) in bombs.items():
        with naming(case), pytest.raises(WeightsError, match=message):
            Weights.from_checkpoint(with_pickled(tmp_path / "m.ckpt", opcodes))


def test_hyper_parameters_that_grow_are_skipped(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(hyper_parameters, "_MAX_BYTES", 1 << 20)
    grown = ["x" * 100]
    for _ in range(60):
        grown = [grown, grown]
    ring = []
    ring.append(ring)
    content = {"state_dict": STATE, "hyper_parameters": {"grown": grown, "ring": ring, "size": 3}}
    path = saved(tmp_path / "m.ckpt", content)
    weights = Weights.from_checkpoint(path)
    assert weights.hyper_parameters == {"size": 3}
    assert weights.hyper_parameters_left_out == ("grown", "ring")
    assert "more than" in caplog.text


def test_tensors_that_exceed_their_storage_are_refused(tmp_path):
    huge = torch.ones(1).expand(1 << 40)
    for case, other in {"with tensors only": {}, "with an object": {"x": Config()}}.items():
        with (
            naming(case),
            pytest.raises(WeightsError, match="tensors that are expanded to 4,398,046,511,104 bytes, 'huge' the most"),
        ):
            Weights.from_checkpoint(saved(tmp_path / "m.ckpt", {"state_dict": {"huge": huge}, **other}))
    good = {"state_dict": {"a": torch.ones(4)}, "x": Config()}
    data = saved(tmp_path / "m.ckpt", good).read_bytes()
    assert data.count(b"K\x00K\x04\x85") == 1
    for case, sizes in {"shape": b"K\x00K\x7f\x85", "offset": b"K\x7fK\x04\x85"}.items():
        path = tmp_path / f"{case}.ckpt"
        with zipfile.ZipFile(tmp_path / "m.ckpt") as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name).replace(b"K\x00K\x04\x85", sizes))
        with naming(case), pytest.raises(WeightsError, match="'a' is larger than its storage: the file is damaged"):
            Weights.from_checkpoint(path)


def test_reading_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = saved(tmp_path / "m.ckpt", {"state_dict": STATE, "x": Config()}, pickle_protocol=4)
        expect_same(Weights.from_checkpoint(path))


def test_a_zip_that_was_packed_again(tmp_path):
    path = saved(tmp_path / "m.ckpt", {"state_dict": STATE, "x": Config()})
    for compression, message in (
        (zipfile.ZIP_STORED, None),
        (zipfile.ZIP_DEFLATED, "compressed again by a zip program"),
    ):
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "n.ckpt", "w", compression) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
        if message is None:
            expect_same(Weights.from_checkpoint(tmp_path / "n.ckpt"))
        else:
            with pytest.raises(WeightsError, match=message):
                Weights.from_checkpoint(tmp_path / "n.ckpt")


def test_pickle_is_what_the_tests_believe():
    """The module pickles the attacks as calls, or the test above proves nothing."""
    assert b"system" in pickle.dumps(Attack(os.system, "true"), 2)
