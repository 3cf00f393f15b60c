"""Low rank against the singular value decomposition; products that are the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress import GroupWise, Half, LowRank, Plan, Raw, Rule, compress
from lightning_compress.errors import FormatError, PlanError
from lightning_compress.quantize import FactoredPayload
from lightning_compress.quantize.composite.factored import product_blocks

GENERATOR = torch.Generator().manual_seed(0)
DECAY = torch.logspace(0, -2, 24, dtype=torch.float64)
TALL = torch.linalg.qr(torch.randn(60, 24, generator=GENERATOR, dtype=torch.float64))[0] * DECAY
TALL = TALL @ torch.linalg.qr(torch.randn(24, 24, generator=GENERATOR, dtype=torch.float64))[0]


def _product(left, right):
    return np.concatenate([block for _, block in product_blocks(left, right)])


def restored(tensor, *methods):
    return compress({"w": tensor}, Plan(Rule("*", *methods))).restore()["w"]


@pytest.mark.parametrize("rank", [1, 3, 10])
@pytest.mark.parametrize("matrix", [TALL, TALL.t(), TALL.t().reshape(24, 3, 20)], ids=["tall", "wide", "convolution"])
def test_the_product_is_the_truncated_decomposition(matrix, rank):
    flat = matrix.reshape(len(matrix), -1).numpy()
    left, values, right = np.linalg.svd(flat, full_matrices=False)
    expected = (left[:, :rank] * values[:rank]) @ right[:rank]
    found = restored(matrix, LowRank(rank))
    np.testing.assert_allclose(found.reshape(flat.shape).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("energy", [0.3, 0.6, 0.99])
def test_energy_takes_the_smallest_rank_that_keeps_it(energy):
    values = np.linalg.svd(TALL.numpy(), compute_uv=False) ** 2
    kept = np.cumsum(values) / values.sum()
    left, right = LowRank(energy=energy).factor(TALL)
    assert left.shape[1] == right.shape[0] == int((kept < energy).sum()) + 1


def test_factors_share_the_singular_values_evenly():
    left, right = LowRank(5).factor(TALL)
    torch.testing.assert_close(left.square().sum(0), right.square().sum(1), rtol=1e-9, atol=0)


WHOLE = {
    "vector": TALL[:, 0],
    "scalar": torch.tensor(0.3),
    "empty": torch.empty(0, 4),
    "zeros": torch.zeros(9, 9),
    "rank too high to pay": TALL[:9, :9],
    "infinity": torch.full((30, 30), float("inf")),
}


@pytest.mark.parametrize("tensor", WHOLE.values(), ids=WHOLE)
def test_what_has_no_thin_factors_is_treated_whole(tensor):
    assert LowRank(5).factor(tensor) is None
    assert torch.equal(restored(tensor, LowRank(5), Raw()), tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_factors_have_the_tensors_dtype_and_go_through_the_methods_behind(dtype):
    archive = compress({"w": TALL.to(dtype)}, Plan(Rule("*", LowRank(6), GroupWise(8, 6), Half())))
    (entry,) = archive.manifest.entries
    assert (entry.kind, entry.dtype) == ("factored", str(dtype).removeprefix("torch."))
    assert entry.payload["left"]["kind"] == entry.payload["right"]["kind"] == "codebook"
    found = archive.restore()["w"].double()
    best = restored(TALL, LowRank(6))
    assert float((found - best).abs().max()) < 0.02 * float(best.abs().max())


@pytest.mark.parametrize("shape", [(3, 4, 5), (300, 2, 700), (1, 1, 1), (5, 3, 0)])
def test_sums_are_rounded_in_the_order_of_the_rank(shape):
    rows, rank, columns = shape
    chance = np.random.default_rng(0)
    left, right = chance.normal(size=(rows, rank)), chance.normal(size=(rank, columns))
    expected = np.zeros((rows, columns))
    for k in range(rank):
        expected = expected + left[:, k, None] * right[None, k]
    assert np.array_equal(_product(left, right), expected)


def test_products_beyond_the_type_become_infinite_without_a_warning():
    huge = np.full((2, 1), 1e308)
    assert np.isinf(_product(huge, huge.T)).all()


@pytest.mark.parametrize("shape", [(60,), (30, 2, 24), (24, 60)])
def test_factors_of_another_shape_are_refused(shape):
    left, right = (Raw().store(factor) for factor in LowRank(4).factor(TALL))
    payload = FactoredPayload(left, right, 4, tuple(TALL.shape))
    with pytest.raises(FormatError, match="factors of 60 rows stand for a tensor of shape"):
        FactoredPayload.from_streams(payload.parameters(), shape, torch.float64, payload.streams())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "rank is None and energy is None, expected exactly one of them"),
        ({"rank": 4, "energy": 0.5}, "rank is 4 and energy is 0.5, expected exactly one"),
        ({"rank": 0}, "rank is 0, expected a whole number from 1 to 1024"),
        ({"rank": 1025}, "rank is 1025"),
        ({"rank": True}, "rank is True"),
        ({"rank": 4.0}, "rank is 4.0"),
        ({"energy": 0}, "energy is 0, expected a fraction between 0 and 1 such as 0.9"),
        ({"energy": 1.0}, "energy is 1.0, expected a fraction"),
        ({"energy": float("nan")}, "energy is nan"),
        ({"energy": "most"}, "energy is 'most'"),
        ({"energy": True}, "energy is True"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(PlanError, match=message):
        LowRank(**options)
