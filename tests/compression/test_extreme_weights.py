"""Weights of extreme size and weights of several dtypes: what is finite never comes back as infinite or NaN."""

from __future__ import annotations

import logging

import pytest
import torch
from each_case import naming

from lightning_compress import (
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
    compress,
)
from lightning_compress.compression.exactness import OUT_OF_RANGE
from lightning_compress.plan import Method

pytestmark = pytest.mark.usefixtures("quick_coding")

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
METHODS: tuple[Method, ...] = (
    Binary(),
    Grid(0.1, relative=True),
    GroupWise(4),
    GroupWise(8, 16),
    Interval(4),
    KMeans(9),
    Logarithmic(4, "row"),
    LowRank(2),
    LowRank(20),
    Ternary(),
)
GENERATOR = torch.Generator().manual_seed(0)
UNIFORM = torch.rand(24, 24, generator=GENERATOR, dtype=torch.float64) * 2 - 1


def _scaled(scale: float, dtype: torch.dtype) -> torch.Tensor:
    return (UNIFORM * scale).to(dtype)


def _inputs(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    info = torch.finfo(dtype)
    ordinary, largest = _scaled(1, dtype), _scaled(info.max, dtype)
    mixed = ordinary.clone()
    mixed[3], mixed[7] = largest[3], _scaled(info.tiny, dtype)[7]
    return {
        "the largest numbers": largest,
        "subnormal": _scaled(info.tiny / 8, dtype),
        "all sizes": mixed,
        "one row": mixed[:1],
        "zeros": torch.zeros(24, 24, dtype=dtype),
        "one value": torch.full((24, 24), info.max, dtype=dtype),
    }


def test_finite_weights_come_back_finite() -> None:
    for dtype in FLOATS:
        for kind, tensor in _inputs(dtype).items():
            for method in METHODS:
                with naming(f"{method} on {kind} of {dtype}"):
                    archive = compress({"weight": tensor}, Plan(Rule("*", method, Half())))
                    restored = archive.restore()["weight"]
                    assert restored.shape == tensor.shape
                    assert bool(torch.isfinite(restored).all())
                    (entry,) = archive.manifest.entries
                    if entry.reason == OUT_OF_RANGE:
                        assert torch.equal(restored, tensor)
                    elif kind == "zeros":
                        assert not restored.any()


def test_what_is_out_of_range_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    weights = {"huge.weight": _scaled(torch.finfo(torch.float16).max, torch.float16)}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            archive = compress(weights, Plan(Rule("*", LowRank(2), Half())))
    assert archive.manifest.entries[0].reason == OUT_OF_RANGE
    assert [record.message for record in caplog.records if "finite" in record.message] == [
        "kept exactly, because their method would make finite weights infinite: huge.weight. To compress one all the "
        "same, give it a rule with another method"
    ]


@pytest.mark.parametrize("method", [Interval(6, 0.98), KMeans(15, "model")], ids=lambda method: method.id)
def test_tensors_of_different_dtypes_share_no_codebook(method: Method) -> None:
    """Values of float32 are beyond those of float16."""
    narrow, wide = _scaled(1, torch.float16), _scaled(1e7, torch.float32)
    plan = Plan(Rule("*", method, Half()))
    together = compress({"narrow.weight": narrow, "wide.weight": wide}, plan).restore()
    assert torch.equal(together["narrow.weight"], compress({"narrow.weight": narrow}, plan).restore()["narrow.weight"])
    assert torch.equal(together["wide.weight"], compress({"wide.weight": wide}, plan).restore()["wide.weight"])


def test_standard_deviations_do_not_overflow() -> None:
    """Pruning by σ takes the same weights whatever the unit is."""
    plan = Plan(Rule("*", Prune(0.5, "class-distribution"), Raw()))
    scales = (1.0, 2.0**1000, 2.0**-1000)
    zeros = {scale: compress({"weight": UNIFORM * scale}, plan).restore()["weight"] == 0 for scale in scales}
    assert 0 < int(zeros[1.0].sum()) < UNIFORM.numel()
    assert all(torch.equal(found, zeros[1.0]) for found in zeros.values())


def test_factors_do_not_overflow() -> None:
    """Low-rank factors of the same matrix in other units are the same product in those units."""
    plan = Plan(Rule("*", LowRank(4), Raw()))
    scales = (1.0, 2.0**660, 2.0**-660)
    products = {scale: compress({"weight": UNIFORM * scale}, plan).restore()["weight"] / scale for scale in scales}
    for product in products.values():
        assert torch.allclose(product, products[1.0], rtol=1e-9, atol=1e-12)
