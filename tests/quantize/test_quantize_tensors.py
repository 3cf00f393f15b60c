"""``quantize`` gives what ``store`` restores to, bit for bit, whatever the tensor."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from quantizer_contract import raw_bits

from lightning_compress import Binary, Grid, GroupWise, Half, Interval, KMeans, Logarithmic, Raw, Ternary
from lightning_compress.plan import METHODS
from lightning_compress.quantize import GridGuide, feedback_factor

pytestmark = pytest.mark.usefixtures("quick_coding")

# Of each quantizer, instances whose parameters take different ways through the code.
QUANTIZERS = [
    Interval(4),
    Interval(1, 0.5, "left"),
    Interval(16, 0.9, "right"),
    Interval(4, 0),
    Grid(0.1, trellis=0, rate_weight=0),
    Grid(0.1, trellis=0),
    Grid(0.1),
    Grid(1e-6, trellis=0, rate_weight=0),
    Grid(0.5, trellis=0, relative=True, rate_weight=0),
    KMeans(5),
    KMeans(300, outliers=0.1),
    KMeans(4, outliers=1),
    Logarithmic(4),
    Logarithmic(6, "row", 0.05),
    Binary(),
    Binary("tensor", 0.1),
    Ternary(),
    Ternary("tensor", 1),
    GroupWise(4, 5),
    GroupWise(8, 64, 16, 0.01),
]
STORAGES = [Raw(), Half(), Half("float16", "nearest")]
SHIFTED = torch.randn(30, 20, generator=torch.Generator().manual_seed(1)) * 0.1 + torch.arange(20.0)


def tensors():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(9, 8, 7, generator=generator)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3.4e38, 1e-8, 1.0, -2.0])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        yield f"normal {dtype}", normal.to(dtype)
        yield f"special {dtype}", special.to(dtype)
        yield f"huge {dtype}", torch.tensor([[0.9, -1.0, 0.3]] * 3, dtype=dtype) * torch.finfo(dtype).max
        yield f"tiny {dtype}", torch.tensor([[0.9, -1.0, 0.3]] * 3, dtype=dtype) * torch.finfo(dtype).tiny
        yield f"column means {dtype}", SHIFTED.to(dtype)
    yield "scalar", torch.tensor(0.3)
    yield "empty", torch.empty(3, 0)
    yield "transposed", normal[0].t()
    yield "strided", normal[:, ::2, 1]
    yield "strided vector", normal[0, 0, ::2]
    yield "subnormal scales and zeros", torch.tensor([[0.9, -1.0, 0.0]] * 3) * 1e-38
    yield "zeros", torch.zeros(5)
    yield "constant", torch.full((5,), -2.5)
    yield "rows of zeros", torch.cat([torch.zeros(4, 6), normal[0, :4, :6]])


TENSORS = dict(tensors())


def assert_same(found, expected):
    assert (found.dtype, found.shape, found.device) == (expected.dtype, expected.shape, expected.device)
    assert torch.equal(raw_bits(found), raw_bits(expected))


@pytest.mark.parametrize(
    ("quantizer", "is_pruned"), [(q, p) for q in QUANTIZERS for p in (False, True) if q.holds_zero or not p], ids=repr
)
def test_quantize_is_what_store_restores(quantizer, is_pruned):
    for name, tensor in TENSORS.items():
        with naming(name):
            _check_quantize(quantizer, tensor, is_pruned)


def _check_quantize(quantizer, tensor, is_pruned):
    pruned = torch.arange(tensor.numel()) % 3 == 1 if is_pruned else None
    fitted = quantizer.fit([tensor if pruned is None else tensor.reshape(-1).masked_fill(pruned, 0)])
    before = tensor.clone()
    for storage in STORAGES:
        expected = fitted.store(tensor, storage, pruned=pruned).restore()
        assert_same(fitted.quantize(tensor, storage, pruned=pruned), expected)
        if storage == Raw():  # which is what no storage means
            assert_same(fitted.quantize(tensor, None, pruned=pruned), expected)
    assert_same(tensor, before)


@pytest.mark.parametrize("has_feedback", [False, True])
def test_a_guided_grid_quantizes_to_what_it_stores(has_feedback):
    tensor = TENSORS["normal torch.float32"].reshape(-1, 4)
    exponents = (torch.arange(len(tensor)) % 5).int() * 16
    guide = GridGuide(exponents, feedback_factor(torch.eye(4) + 0.5, 0.01) if has_feedback else None)
    fitted = Grid(0.3, trellis=0, rate_weight=0).fit([tensor])
    found = fitted.quantize(tensor, guide=guide)
    assert_same(found, fitted.store(tensor, Raw(), guide=guide).restore())
    assert not torch.equal(found, fitted.quantize(tensor))


def test_a_grid_refuses_the_guide_of_another_method():
    fitted = Grid(0.3, trellis=0, rate_weight=0).fit([torch.ones(2, 2)])
    with pytest.raises(TypeError, match="GridGuide, got str"):
        fitted.quantize(torch.ones(2, 2), guide="rows")


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("storage", STORAGES, ids=repr)
def test_a_storage_quantizes_to_what_it_restores(storage, tensor):
    before, found = tensor.clone(), storage.quantize(tensor)
    assert_same(found, storage.store(tensor).restore())
    found.fill_(7)
    assert_same(tensor, before)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
def test_the_result_is_a_new_tensor_without_a_gradient(quantizer):
    weights = torch.nn.Parameter(TENSORS["normal torch.float32"].clone())
    found = quantizer.fit([weights.detach()]).quantize(weights)
    assert not found.requires_grad
    assert found.data_ptr() != weights.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
def test_a_tensor_on_a_gpu_stays_there(quantizer):
    tensor = TENSORS["normal torch.float32"]
    fitted = quantizer.fit([tensor])
    found = fitted.quantize(tensor.cuda(), Half())
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), fitted.quantize(tensor, Half()), rtol=1e-4, atol=1e-6)


def test_every_quantizer_of_the_package_is_here():
    assert {quantizer.id for quantizer in QUANTIZERS} == set(METHODS.with_role("quantize"))
