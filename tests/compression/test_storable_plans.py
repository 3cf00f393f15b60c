"""Every plan that is accepted can be stored: all methods and their combinations, on tensors of every form and size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from each_case import naming
from torch import Tensor

from lightning_compress import (
    Archive,
    Binary,
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    Logarithmic,
    LowRank,
    Plan,
    Prune,
    Raw,
    Rule,
    Ternary,
    Weights,
    compress,
)
from lightning_compress.compression import payloads_of
from lightning_compress.compression.fitting import fit, pruned_mask
from lightning_compress.errors import PlanError
from lightning_compress.plan import METHODS, Method
from lightning_compress.quantize import FLOATS, PAYLOADS, Payload, RawPayload, sparse_forms
from lightning_compress.runtime import one_thread
from lightning_compress.weights import Weight, as_bytes

# Of each method, instances whose parameters take different ways through the code, the extreme ones among them.
PRUNE = (Prune(0.3), Prune(1), Prune(1e9, "class-distribution"))
FACTOR = (LowRank(2), LowRank(energy=0.99))
QUANTIZE: tuple[Method, ...] = (
    Interval(1, 0.5, "left", "tensor"),
    Interval(16, 1.0, "right", "class"),
    Interval(3, 0.0),
    Grid(0.1),
    Grid(1e300),
    Grid(5e-324, trellis=0),
    Grid(0.5, trellis=0, relative=True, rate_weight=0),
    Grid(1e-300, trellis=4, relative=True, scope="tensor"),
    Grid(1e308, relative=True, scope="tensor"),
    KMeans(1),
    KMeans(300, "class", "quantile", 0.1),
    Logarithmic(6, "row", 0.05),
    Logarithmic(2, outliers=1),
    Binary(),
    Ternary("tensor", 0.2),
    GroupWise(2, 1),
    GroupWise(8, 1 << 20, 16, 0.01),
)
STORE = (Half(), Half("float16", "nearest"), Raw())
SHAPES = ((), (0,), (1,), (1, 1), (7,), (0, 5), (5, 0), (3, 1, 5), (1, 33), (33, 1))
BASE = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _plans() -> Iterator[tuple[Method, ...]]:
    """Every combination of kinds; of the storages, each after one of the others."""
    before = [(), *((method,) for method in (*PRUNE, *FACTOR)), (PRUNE[0], FACTOR[0])]
    for number, (first, second) in enumerate(product(before, [(), *((method,) for method in QUANTIZE)])):
        yield (*first, *second, STORE[number % len(STORE)])


def _values(dtype: torch.dtype) -> dict[str, Tensor]:
    info = torch.finfo(dtype)
    base = BASE.to(dtype)
    huge, special = base.clone(), base.clone()
    huge[1, 1] = info.max
    special[0], special[2, 3], special[3, 3] = float("nan"), float("-inf"), float("inf")
    one = torch.zeros(6, 8, dtype=dtype)
    one[2, 3] = 1.5
    return {
        "normal": base,
        "zeros": torch.zeros(6, 8, dtype=dtype),
        "negative zeros": torch.full((6, 8), -0.0, dtype=dtype),
        "constant": torch.full((6, 8), -2.5, dtype=dtype),
        "one huge": huge,
        "all huge": (BASE.sign() * info.max).to(dtype),
        "subnormal": (BASE * info.smallest_normal / 8).to(dtype),
        "the least": ((BASE > 0).double() * info.smallest_normal * info.eps).to(dtype),
        "NaN and infinite": special,
        "all infinite": torch.full((3, 4), float("inf"), dtype=dtype),
        "one that is not 0": one,
        "rows of zeros": torch.cat([one[:3] * 0, base[:3]]),
    }


def _tensors() -> dict[str, Tensor]:
    found = {f"{name}, {dtype}": tensor for dtype in FLOATS for name, tensor in _values(dtype).items()}
    base = BASE.float()
    found |= {f"shape {shape}": torch.full(shape, 0.3) for shape in SHAPES}
    found |= {"transposed": base.t(), "strided": base[::2, 1::3], "expanded": base[0].expand(4, 8)}
    found |= {"of stride 0": torch.tensor(0.3).expand(3, 4), "1e200": BASE * 1e200, "1e-200": BASE * 1e-200}
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.complex64, torch.float8_e4m3fn, torch.uint16):
        found |= {
            f"{dtype}": (torch.arange(24).reshape(4, 6) % 2).to(dtype),
            f"empty {dtype}": torch.empty(0, dtype=dtype),
        }
    return found


TENSORS = _tensors()
WEIGHTS = Weights(tuple(Weight(name, tensor, "all") for name, tensor in TENSORS.items()))  # all of them, no constants
PARTS = 11


def _accepted() -> Iterator[Plan]:
    for methods in _plans():
        with suppress(PlanError):
            yield Plan(Rule("*", *methods))


def _check_payload(tensor: Tensor, payload: Payload) -> Tensor:
    """The payload comes back from its parameters in JSON and its streams; the tensor that both restore."""
    parameters = json.loads(json.dumps(payload.parameters(), allow_nan=False))
    restored, streams = payload.restore(), payload.streams()
    layout = PAYLOADS[payload.kind].layout(parameters, restored.numel(), restored.dtype)
    assert {name: (len(words), words.itemsize) for name, words in streams.items()} == {
        name: (spec.count, spec.width) for name, spec in layout.items()
    }
    shape = tuple(tensor.shape)
    assert PAYLOADS[payload.kind].work(parameters, shape, tensor.dtype).memory >= 0
    again = PAYLOADS[payload.kind].from_streams(parameters, shape, tensor.dtype, streams)
    assert again.parameters() == parameters
    assert (restored.dtype, restored.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(as_bytes(again.restore()), as_bytes(restored))
    return restored


def _check_plan(plan: Plan, weights: Weights) -> None:
    rules = plan.assign(weights)
    fitted = fit(weights, rules)
    for weight, rule, payload in zip(weights, rules, payloads_of(weights, plan, {}), strict=True):
        with naming((plan.rules[0].methods, weight.name)):
            assert rule is not None
            restored = _check_payload(weight.tensor, payload)
            for form in sparse_forms(payload):
                assert torch.equal(as_bytes(_check_payload(weight.tensor, form)), as_bytes(restored))
            if weight.tensor.dtype not in FLOATS:
                assert torch.equal(as_bytes(restored), as_bytes(weight.tensor))
                continue
            special = ~torch.isfinite(weight.tensor)
            assert torch.equal(as_bytes(restored[special]), as_bytes(weight.tensor[special]))
            quantizer = fitted.quantizer_of(weight, rule)
            if quantizer is not None and weight.name not in fitted.factors:
                cut = fitted.cuts.get(weight.name)
                pruned = None if cut is None else pruned_mask(weight.tensor, cut)
                promised = quantizer.quantize(weight.tensor, rule.storage, pruned=pruned)
                assert torch.equal(as_bytes(promised), as_bytes(restored))


def test_what_a_plan_makes_of_any_tensor_can_be_stored() -> None:
    """Each plan takes an eleventh of the tensors, another one than the plan before; all would take a minute."""
    with one_thread():
        for number, plan in enumerate(_accepted()):
            part = (weight for at, weight in enumerate(WEIGHTS) if (number + at + at // 12) % PARTS == 0)
            _check_plan(plan, Weights(tuple(part)))


def test_every_method_of_the_package_is_in_the_plans() -> None:
    found = {method.id for plan in _accepted() for method in plan.rules[0].methods}
    assert found == set(METHODS)


@pytest.mark.parametrize(
    "methods",
    [
        (Prune(1), Grid(0.5, relative=True)),
        (Prune(1e9, "class-distribution"), Grid(1e-6, 128, relative=True, scope="class"), Half()),
        (Prune(0.3), Interval(4), Half()),
        (LowRank(2), KMeans(5), Half()),
    ],
    ids=repr,
)
def test_a_file_of_any_tensors_is_saved_opened_and_restored(methods: tuple[Method, ...], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    compress(WEIGHTS, Plan(Rule("*", *methods))).save(path)
    restored = Archive.open(path).restore()
    for name, tensor in TENSORS.items():
        with naming(name):
            assert (restored[name].dtype, restored[name].shape) == (tensor.dtype, tensor.shape)
            if tensor.dtype in FLOATS:
                assert bool(torch.isfinite(restored[name])[torch.isfinite(tensor)].all())


@dataclass(frozen=True)
class _OwnPayload(RawPayload):
    """A payload that no reader knows."""

    kind: ClassVar[str] = "own"


@dataclass(frozen=True)
class _Faulty(Interval):
    """A quantizer of another package, with a fault."""

    id: ClassVar[str] = "faulty"
    fault: str = "payload"

    def group(self, name: str, class_name: str) -> str:
        return name

    def fit(self, tensors):  # type: ignore[no-untyped-def]
        return self

    def store(self, tensor, storage, *, pruned=None, guide=None):  # type: ignore[no-untyped-def]
        if self.fault == "payload":
            return _OwnPayload(tensor)
        return RawPayload(tensor.double() if self.fault == "dtype" else tensor.reshape(-1))


@pytest.mark.parametrize(
    ("fault", "before", "message"),
    [
        ("payload", (), r"'w': faulty makes a _OwnPayload, which files cannot hold there; expected one of RawPayload"),
        ("payload", (LowRank(1),), r"'w': low-rank, faulty makes a _OwnPayload, which files cannot hold there"),
        ("dtype", (), r"'w': its method restores \(6, 8\) torch.float64, expected \(6, 8\) torch.float32"),
        ("shape", (), r"'w': its method restores \(48,\) torch.float32, expected \(6, 8\) torch.float32"),
    ],
)
def test_faults_of_a_foreign_method_are_named_before_a_file_is_written(
    fault: str, before: tuple[Method, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS, "_registered", METHODS._registered | {"faulty": _Faulty})
    method = replace(_Faulty(4), fault=fault)
    with pytest.raises(PlanError, match=message):
        compress({"w": BASE.float()}, Plan(Rule("*", *before, method)))
