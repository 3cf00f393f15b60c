"""Sound inputs that changed ones are made from: small tensors in every payload and coder, files, plans, values."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from lightning_compress import (
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    LowRank,
    Plan,
    Prune,
    Raw,
    Rule,
    Weights,
    compress,
)
from lightning_compress.archive import Archive, Entry
from lightning_compress.archive.encode import decode_streams
from lightning_compress.coding import CODERS, Statistics
from lightning_compress.plan import PRESETS
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.weights import Tie, Weight, dump

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Specimen:
    """One stored tensor, apart from its file.

    Attributes:
        name, shape, dtype, payload: as in the manifest.
        words: stream → decoded words.
        groups: stream → lengths of its groups.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    payload: Mapping[str, Any]
    words: Mapping[str, np.ndarray[Any, Any]]
    groups: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Code:
    """One coded stream, and what its decoder is told."""

    coder: str
    data: bytes
    count: int
    width: int
    groups: tuple[int, ...] = ()


def _bell(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 20).to(dtype)


def _special(dtype: torch.dtype) -> Tensor:
    tensor, info = _bell((6, 4), 9, dtype), torch.finfo(dtype)
    edges = [float("nan"), float("inf"), float("-inf"), -0.0, info.smallest_normal / 2, info.max]
    tensor.view(-1)[: len(edges)] = torch.tensor(edges, dtype=torch.float64).to(dtype)
    return tensor


@cache
def archive() -> Archive:
    """Small tensors in every payload and form, with ties, assets, hyper-parameters and reasons."""
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    state = {f"{m}.{str(d).removeprefix('torch.')}": _special(d) for d in floats for m in ("half", "interval", "grid")}
    scaled = torch.exp(torch.arange(8) % 4 - 2.0)[:, None]
    state |= {
        "raw": torch.arange(12, dtype=torch.int32).reshape(3, 4),
        "bool": torch.arange(10) % 3 == 0,
        "complex": torch.complex(_bell((5,), 1), _bell((5,), 2)),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 5),
        "nearest": _special(torch.float32),
        "codebook": _bell((5, 6), 3),
        "scales": _bell((4, 8), 4),
        "factors": _bell((6, 7), 5),
        "gaps": _bell((7, 9), 6).where(torch.arange(63).reshape(7, 9) % 5 < 2, 0),
        "bitmap": _bell((8, 16), 7).where((torch.arange(8) % 8 < 3)[:, None], 0),
        "pruned": _bell((6, 7), 8),
        "classes": _bell((8, 10), 10) * scaled,
        "offsets": _bell((12, 5), 11) + _bell((5,), 12) * 40,
    }
    state |= {f"trellis.{states}": _bell((5, 6), states) for states in TRELLISES}
    plan = Plan(
        Rule("half*", Half()),
        Rule("nearest", Half("float16", "nearest")),
        Rule("interval*", Interval(4, 0.9, scope="tensor"), Half()),
        *(Rule(f"trellis.{states}", Grid(0.03, trellis=states)) for states in TRELLISES),
        Rule("grid*", Grid(0.03, trellis=0)),
        Rule("classes", Grid(0.03)),
        Rule("offsets", Grid(0.03)),
        Rule("codebook", KMeans(5, outliers=0.1), Half()),
        Rule("scales", GroupWise(4, 4, 8, 0.1), Half()),
        Rule("factors", LowRank(2), KMeans(4), Half()),
        Rule("gaps", Half()),
        Rule("bitmap", Half()),
        Rule("pruned", Prune(0.4), Interval(3, 0.9), Raw()),
        Rule("*", Raw(), optional=True),
    )
    found = Weights(
        weights=tuple(Weight(name, tensor, "other") for name, tensor in state.items()),
        ties={"tied": Tie("raw", 5, (2, 2), (3, 1)), "whole": Tie("codebook", 0, (6, 5), (1, 6))},
        excluded=("loss.weight",),
        class_path="models.Model",
        hyper_parameters=_values(),
        hparams_name="hparams",
        checkpoint={"epoch": 3},
        assets={"words": b"one\ntwo\n" * 4, "empty": b""},
    )
    return compress(found, plan)


@cache
def weights() -> Weights:
    """The weights of :func:`archive`, as they are read back."""
    return Weights.from_state_dict(archive().restore())


def _values() -> Json:
    values: Json = {"size": 5, "rate": 0.1, "names": ["a", "ß"], "betas": (0.9, 0.98), "limit": float("inf")}
    values |= {"levels": {3: "c"}, "order": OrderedDict(b=1, a=2), "shape": torch.Size([2, 3])}
    return values | {"dtype": torch.float16, "number": np.float32(0.1), "deep": {"deep": {"deep": [None, True]}}}


@cache
def specimens() -> tuple[Specimen, ...]:
    """The tensors of :func:`archive`."""
    whole = archive()
    return tuple(_specimen(entry, memoryview(whole.streams[entry.key])) for entry in whole.manifest.entries)


def _specimen(entry: Entry, body: memoryview) -> Specimen:
    words = decode_streams(entry, body, [record.name for record in entry.streams])
    groups = {name: spec.groups for name, spec in entry.layout().items()}
    return Specimen(entry.name, entry.shape, entry.dtype, dict(entry.payload), words, groups)


@cache
def codes() -> tuple[Code, ...]:
    """The streams of the specimens and a few others, by every coder that applies to them."""
    return tuple(_codes())


def _codes() -> Iterator[Code]:
    random = np.random.default_rng(1)
    streams = [(words, s.groups[name]) for s in specimens() for name, words in s.words.items()]
    streams += [(random.integers(0, most, 40).astype(f"<u{width}"), ()) for most, width in _RANGES]
    streams += [(np.minimum(random.geometric(0.4, 90), 9).astype(np.uint8), (0, 30, 60))]
    for words, groups in streams:
        statistics = Statistics(words, groups)
        for name, coder in CODERS.items():
            if coder.lower_bound(statistics) is not None:
                yield Code(name, coder.encode(statistics), len(words), words.itemsize, groups)


_RANGES = [(2, 1), (3, 1), (17, 1), (256, 1), (300, 2), (65536, 2), (5, 4), (70000, 4), (2**32, 4), (9, 8), (2**63, 8)]


@cache
def plans() -> tuple[str, ...]:
    """Plans as YAML: the presets, and one with every method."""
    full = archive().manifest.plan
    return (*(plan.to_yaml() for plan in PRESETS.values()), Plan.from_config(full).to_yaml())


@cache
def texts() -> tuple[str, ...]:
    """Texts of values as files hold them."""
    return (dump(_values()), *(dump({name: value}) for name, value in _values().items()))


@cache
def pickles() -> tuple[bytes, ...]:
    """What ``torch.save`` pickles: a state dict, and a checkpoint with hyper-parameters of several types."""
    state = OrderedDict(weight=_bell((3, 4), 1), bias=_bell((3,), 2), steps=torch.tensor(5))
    content = {"state_dict": state, "epoch": 3, "hyper_parameters": _values(), "hparams_name": "hparams"}
    return tuple(_pickled(value) for value in (state, content, {"state_dict": state, "model": dict(state)}))


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as saved:
        return saved.read(next(name for name in saved.namelist() if name.endswith("data.pkl")))


def as_checkpoint(pickled: bytes) -> bytes:
    """A file of ``torch.save`` around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for key, nbytes in enumerate((48, 12, 8)):
            file.writestr(f"archive/data/{key}", bytes(range(nbytes)))
        file.writestr("archive/version", "3\n")
    return buffer.getvalue()


def legacy_checkpoint(pickled: bytes) -> bytes:
    """A file as torch before 1.6 wrote it around a pickle."""
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*head, pickled, pickle.dumps(["0"], 2), (12).to_bytes(8, "little"), bytes(48)])


@cache
def safetensors_file() -> bytes:
    """A file of the safetensors library: tensors of several dtypes, and metadata."""
    tensors = {
        "weight": _bell((3, 4), 1),
        "half": _bell((4,), 2).half(),
        "steps": torch.tensor(5),
        "none": torch.ones(0),
    }
    return safetensors.torch.save(tensors, {"format": "pt"})
