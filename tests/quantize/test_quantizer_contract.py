"""One contract over every method: its payload becomes streams and comes back, and the method survives a plan."""

from __future__ import annotations

import json

import pytest
import torch
from each_case import naming
from quantizer_contract import TENSORS, PlanContract, TensorContract, compressed, same, through

from lightning_compress import (
    Binary,
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    Logarithmic,
    LowRank,
    Prune,
    Raw,
    Ternary,
)
from lightning_compress.archive import encode_tensor
from lightning_compress.archive.encode import decode_tensor
from lightning_compress.errors import FormatError
from lightning_compress.plan import METHODS as REGISTERED
from lightning_compress.quantize import PAYLOADS, FactoredPayload, SparsePayload, sparse_forms

pytestmark = pytest.mark.usefixtures("quick_coding")

METHODS = {
    "raw": (Raw(),),
    "half": (Half(),),
    "half to nearest": (Half(rounding="nearest"),),
    "float16": (Half("float16", "nearest"),),
    "interval": (Interval(4),),
    "interval, left": (Interval(1, 0.5, "left"),),
    "interval, right": (Interval(7, 0.9, "right", "tensor"), Half()),
    "interval, 8 bits": (Interval(8, 1.0), Raw()),
    "interval, 16 bits": (Interval(16, 0.99, scope="class"), Half("float16", "nearest")),
    "nothing covered": (Interval(4, 0), Half()),
    "grid": (Grid(0.01),),
    "grid, plain": (Grid(0.3, trellis=0, rate_weight=0), Half()),
    "grid, relative": (
        Grid(0.2, trellis=128, relative=True, scope="tensor", rate_weight=0.5),
        Half("float16", "nearest"),
    ),
    "grid, pruned": (Prune(0.3), Grid(0.1, trellis=4, relative=True, scope="class"), Raw()),
    "prune": (Prune(0.3),),
    "prune, half": (Prune(0.3, "class-uniform"), Half()),
    "prune everything": (Prune(1),),
    "the paper": (Prune(0.15, "class-uniform"), Interval(6, 0.98), Half()),
    "k-means": (KMeans(5),),
    "k-means, one for all": (KMeans(300, "model", "quantile", 0.02), Half()),
    "prune, k-means": (Prune(0.3), KMeans(4, "class"), Raw()),
    "logarithmic": (Logarithmic(4),),
    "prune, logarithmic": (Prune(0.3), Logarithmic(3, "row", 0.05), Half()),
    "binary": (Binary(),),
    "binary, one scale": (Binary("tensor", 0.1), Half()),
    "ternary": (Ternary(),),
    "prune, ternary": (Prune(0.3), Ternary("tensor"), Raw()),
    "group-wise": (GroupWise(4, 5),),
    "prune, group-wise": (Prune(0.3), GroupWise(8, 64, 16, 0.01), Half()),
    "low rank": (LowRank(2),),
    "low rank, half": (LowRank(energy=0.5), Half()),
    "low rank, k-means": (LowRank(energy=0.9), KMeans(16, "model"), Half()),
}
IDEMPOTENT = ("raw", "half", "half to nearest", "float16", "prune everything")
EXACT = {"raw": (Raw(),), "nothing covered": (Interval(4, 0), Raw()), "nothing pruned": (Prune(0),)}


@pytest.mark.parametrize("methods", METHODS.values(), ids=METHODS)
class TestTensors(TensorContract):
    pass


@pytest.mark.parametrize("methods", METHODS.values(), ids=METHODS)
class TestPlans(PlanContract):
    pass


@pytest.mark.parametrize("name", IDEMPOTENT)
def test_a_second_time_changes_nothing(name):
    for tensor in TENSORS:
        with naming(tensor):
            once = compressed(METHODS[name], tensor).restore()["w"]
            assert same(through(METHODS[name], once), once)


@pytest.mark.parametrize("methods", EXACT.values(), ids=EXACT)
def test_lossless_methods_are_exact(methods):
    for name, tensor in TENSORS.items():
        with naming(name):
            assert same(through(methods, tensor), tensor)


@pytest.mark.parametrize("method", REGISTERED)
def test_the_contract_suite_has_a_case_of_every_registered_method(method):
    assert any(one.id == method for methods in METHODS.values() for one in methods)


def payloads():
    weights = TENSORS["normal torch.float32"].reshape(-1)
    fitted = Interval(9, 0.9).fit([weights])
    yield Raw().store(weights)
    yield Half().store(TENSORS["special torch.float32"])
    yield Half("float16", "nearest").store(TENSORS["special torch.float64"])
    yield from (fitted.store(weights, storage) for storage in (Raw(), Half()))
    matrix = TENSORS["normal torch.float32"]
    yield KMeans(300, outliers=0.1).fit([matrix]).store(matrix, Half())
    yield GroupWise(4, 10, 16, 0.1).fit([matrix]).store(matrix, Raw())
    yield Ternary("row").fit([matrix]).store(matrix.double(), Raw())
    left, right = LowRank(3).factor(matrix)
    yield FactoredPayload(Half().store(left), KMeans(9).fit([right]).store(right, Raw()), 3, tuple(matrix.shape))
    pruned = torch.arange(matrix.numel()) % 7 != 3
    for form in ("gaps", "bitmap"):
        dense = KMeans(4).fit([matrix]).store(matrix, Raw(), pruned=pruned)
        (sparse,) = (found for found in sparse_forms(dense) if found.form == form)
        yield SparsePayload(sparse.positions, form, sparse.values, tuple(matrix.shape))


PAYLOAD_LIST = list(payloads())
RAW = {"kind": "raw"}
NO_OUTLIERS = {"kind": "raw", "count": 0}
SCALES = {"unit": 1.0, "width": 1, "row": 5, "size": 2}


@pytest.mark.parametrize("payload", PAYLOAD_LIST, ids=[p.kind for p in PAYLOAD_LIST])
def test_a_payload_is_rebuilt_from_parameters_and_streams(payload):
    restored = payload.restore()
    parameters = json.loads(json.dumps(payload.parameters()))
    streams = payload.streams()
    specs = type(payload).layout(parameters, restored.numel(), restored.dtype)
    assert {name: (spec.count, spec.width) for name, spec in specs.items()} == {
        name: (len(words), words.dtype.itemsize) for name, words in streams.items()
    }
    again = type(payload).from_streams(parameters, tuple(restored.shape), restored.dtype, streams)
    assert same(again.restore(), restored)
    entry, coded = encode_tensor("w", "other", payload)
    assert same(decode_tensor(entry, memoryview(coded)), restored)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("half", {"format": "float32", "escapes": 0}),
        ("half", {"format": "bfloat16", "escapes": 11}),
        ("half", {"format": "bfloat16", "escapes": -1}),
        ("half", {"format": "bfloat16"}),
        ("indexed", {}),
        ("indexed", {"first": float("nan"), "step": 1.0, "levels": 4, "outliers": {"kind": "raw", "count": 0}}),
        ("indexed", {"first": 0, "step": 1.0, "levels": 4, "outliers": {"kind": "raw", "count": 0}}),
        ("indexed", {"first": 0.0, "step": 1.0, "levels": 1 << 17, "outliers": {"kind": "raw", "count": 0}}),
        ("indexed", {"first": 0.0, "step": 1.0, "levels": 4, "outliers": {"kind": "indexed", "count": 0}}),
        ("indexed", {"first": 0.0, "step": 1.0, "levels": 4, "outliers": {"kind": "raw", "count": 11}}),
        ("indexed", {"first": 0.0, "step": 1.0, "levels": 4, "outliers": None}),
        ("codebook", {"levels": 4}),
        ("codebook", {"levels": 1 << 16, "outliers": NO_OUTLIERS}),
        ("codebook", {"levels": -1, "outliers": NO_OUTLIERS}),
        ("codebook", {"levels": 4, "outliers": {"kind": "codebook", "count": 0}}),
        ("codebook", {"levels": 4, "outliers": {"kind": "raw", "count": 11}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": None}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"unit": 1}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"unit": float("inf")}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"unit": -1.0}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"width": 3}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"width": 0}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"row": 4}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"row": 0, "size": 0}}),
        ("codebook", {"levels": 4, "outliers": NO_OUTLIERS, "scales": SCALES | {"size": 6}}),
        ("sparse", {"positions": "gaps", "width": 3, "count": 2, "values": RAW}),
        ("sparse", {"positions": "gaps", "width": [1], "count": 2, "values": RAW}),
        ("sparse", {"positions": "runs", "width": 1, "count": 2, "values": RAW}),
        ("sparse", {"positions": "gaps", "width": 1, "count": 11, "values": RAW}),
        ("sparse", {"positions": "gaps", "width": 1, "count": 2, "values": {"kind": "sparse"}}),
        ("sparse", {"positions": "gaps", "width": 1, "count": 2}),
        ("factored", {"rows": 5, "rank": 1, "left": RAW}),
        ("factored", {"rows": 5, "rank": 0, "left": RAW, "right": RAW}),
        ("factored", {"rows": 5, "rank": 2, "left": RAW, "right": RAW}),
        ("factored", {"rows": 0, "rank": 1, "left": RAW, "right": RAW}),
        ("factored", {"rows": 3, "rank": 1, "left": RAW, "right": RAW}),
        ("factored", {"rows": 5, "rank": 2000, "left": RAW, "right": RAW}),
        ("factored", {"rows": 5, "rank": 1, "left": {"kind": "factored"}, "right": RAW}),
        ("factored", {"rows": 5, "rank": 1, "left": RAW, "right": {"kind": ["raw"]}}),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_allocated(kind, parameters):
    with pytest.raises(FormatError, match=r"expected|unknown|do not fit"):
        PAYLOADS[kind].layout(parameters, 10, torch.float32)
