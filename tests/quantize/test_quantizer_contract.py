"""One contract over every method: its payload becomes streams and comes back, and the method survives a plan."""

from __future__ import annotations

import json

import pytest
import torch

from lightning_compress import Grid, Half, Interval, Plan, Prune, Raw, Rule, compress
from lightning_compress.archive import encode_tensor
from lightning_compress.archive.encode import decode_tensor
from lightning_compress.errors import FormatError
from lightning_compress.quantize import PAYLOADS

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
}
IDEMPOTENT = ("raw", "half", "half to nearest", "float16", "prune everything")
EXACT = {"raw": (Raw(),), "nothing covered": (Interval(4, 0), Raw()), "nothing pruned": (Prune(0),)}


def tensors():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(9, 8, 7, generator=generator)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3.4e38, 1e-8, 1.0])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        yield f"normal {dtype}", normal.to(dtype)
        yield f"special {dtype}", special.to(dtype)
    yield "scalar", torch.tensor(0.3)
    yield "empty", torch.empty(3, 0)
    yield "transposed", normal[0].t()
    yield "strided", normal[:, ::2, 1]
    yield "zeros", torch.zeros(5)
    yield "constant", torch.full((5,), -2.5)
    yield "integers", torch.arange(-5, 5)
    yield "booleans", torch.tensor([True, False])
    yield "complex", torch.complex(normal[0], normal[1]).conj()
    yield "negated", torch.complex(normal[0], normal[1]).conj().imag
    yield "float8", normal[0].to(torch.float8_e4m3fn)


TENSORS = dict(tensors())


def raw_bits(tensor):
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def same(first, second):
    return (
        first.dtype == second.dtype and first.shape == second.shape and torch.equal(raw_bits(first), raw_bits(second))
    )


def through(methods, tensor):
    return compress({"w": tensor}, Plan(Rule("*", *methods))).restore()["w"]


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("methods", METHODS.values(), ids=METHODS)
class TestContract:
    def test_dtype_and_shape_stay_and_special_values_survive(self, methods, tensor):
        restored = through(methods, tensor)
        assert (restored.dtype, restored.shape) == (tensor.dtype, tensor.shape)
        if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
            assert same(restored, tensor)
        else:
            kept = ~torch.isfinite(tensor)
            assert same(restored[kept], tensor[kept])

    def test_streams_never_outgrow_the_raw_tensor(self, methods, tensor):
        (row,) = compress({"w": tensor}, Plan(Rule("*", *methods))).report().rows
        assert row.bytes <= row.raw_bytes == tensor.numel() * tensor.element_size()

    def test_the_same_input_gives_the_same_streams(self, methods, tensor):
        first, second = (compress({"w": tensor.clone()}, Plan(Rule("*", *methods))) for _ in range(2))
        assert first.manifest == second.manifest
        assert {k: bytes(v) for k, v in first.streams.items()} == {k: bytes(v) for k, v in second.streams.items()}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("name", IDEMPOTENT)
def test_a_second_time_changes_nothing(name, tensor):
    once = through(METHODS[name], tensor)
    assert same(through(METHODS[name], once), once)


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("methods", EXACT.values(), ids=EXACT)
def test_lossless_methods_are_exact(methods, tensor):
    assert same(through(methods, tensor), tensor)


@pytest.mark.parametrize("methods", METHODS.values(), ids=METHODS)
def test_a_method_survives_its_plan_s_plain_data(methods):
    plan = Plan(Rule("*", *methods))
    assert Plan.from_config(json.loads(json.dumps(plan.to_config()))) == plan
    assert all(isinstance(method.lossy, bool) for method in methods)


def payloads():
    weights = TENSORS["normal torch.float32"].reshape(-1)
    fitted = Interval(9, 0.9).fit([weights])
    yield Raw().store(weights)
    yield Half().store(TENSORS["special torch.float32"])
    yield Half("float16", "nearest").store(TENSORS["special torch.float64"])
    yield from (fitted.store(weights, storage) for storage in (Raw(), Half()))


PAYLOAD_LIST = list(payloads())


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
    assert same(decode_tensor(entry, {name: memoryview(data) for name, data in coded.items()}), restored)


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
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_allocated(kind, parameters):
    with pytest.raises(FormatError, match=r"expected|unknown"):
        PAYLOADS[kind].layout(parameters, 10, torch.float32)
