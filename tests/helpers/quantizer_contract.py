"""The contract that every method keeps, for the methods of this package and of others: derive a test class from it."""

from __future__ import annotations

import json
from functools import cache

import torch
from each_case import naming

from lightning_compress import Plan, Rule, compress


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


@cache
def compressed(methods, name):
    """The archive of one of the tensors; made once, since several properties look at it."""
    return compress({"w": TENSORS[name]}, Plan(Rule("*", *methods)))


class TensorContract:
    """Parametrize it with ``methods``; every property is checked on each of the tensors."""

    def test_dtype_and_shape_stay_and_special_values_survive(self, methods):
        for name, tensor in TENSORS.items():
            with naming(name):
                restored = compressed(methods, name).restore()["w"]
                assert (restored.dtype, restored.shape) == (tensor.dtype, tensor.shape)
                if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
                    assert same(restored, tensor)
                else:
                    kept = ~torch.isfinite(tensor)
                    assert same(restored[kept], tensor[kept])

    def test_streams_never_outgrow_the_raw_tensor(self, methods):
        for name, tensor in TENSORS.items():
            with naming(name):
                (row,) = compressed(methods, name).report().rows
                assert row.bytes <= row.raw_bytes == tensor.numel() * tensor.element_size()

    def test_the_same_input_gives_the_same_streams(self, methods):
        for name, tensor in TENSORS.items():
            with naming(name):
                first = compressed(methods, name)
                second = compress({"w": tensor.clone()}, Plan(Rule("*", *methods)))
                assert first.manifest == second.manifest
                assert {k: bytes(v) for k, v in first.streams.items()} == {
                    k: bytes(v) for k, v in second.streams.items()
                }


class PlanContract:
    """Parametrize it with ``methods``."""

    def test_a_method_survives_its_plan_s_plain_data(self, methods):
        plan = Plan(Rule("*", *methods))
        assert Plan.from_config(json.loads(json.dumps(plan.to_config()))) == plan

    def test_a_method_describes_itself(self, methods):
        for method in methods:
            assert isinstance(method.lossy, bool)
            assert method.label
            assert method.scaled(1.0) == method
            assert type(method.scaled(2.0)) is type(method)

    def test_pruned_weights_come_back_as_zero(self, methods):
        if methods[0].role == "prune":
            weights = TENSORS["normal torch.float32"]
            kept = through(methods[:1], weights) != 0
            assert not through(methods, weights)[~kept].any()
